"""A stand-in for a Kubernetes Service and for the rolling update of a Deployment, over processes of this machine.

New connections go to replicas whose readiness answers 200, some time after it began to, and to one that is told to
end for some time more. What is open stays where it is, as behind kube-proxy.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.roles.conftest import Process

POLL_SECONDS = 0.25
LATE_SECONDS = 0.75
DIAL_SECONDS = 5.0
CHUNK_BYTES = 65536
ENDS_SECONDS = 60.0


@dataclass(eq=False)
class Replica:
    """A process and where it takes connections."""

    process: Process
    port: int
    is_ready: bool = False
    is_told_to_end: bool = False


async def _is_ready(health_port: int) -> bool:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(DIAL_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", health_port)
            try:
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.transport.abort()
    return False


@dataclass
class Service:
    """One address for the replicas of a role. ``refused`` counts connections that their replica did not take."""

    role: str
    port: int
    replicas: list[Replica] = field(default_factory=list)
    refused: int = 0
    _led_to: list[Replica] = field(default_factory=list)
    _chosen: list[Replica] = field(default_factory=list)
    _turn: itertools.count[int] = field(default_factory=itertools.count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, and look at the replicas from now on."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self._keep(self._look())

    async def close(self) -> None:
        """Cut everything."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_led_to(self, replica: Replica) -> None:
        """Return when it gets new connections."""
        async with asyncio.timeout(ENDS_SECONDS):
            while replica not in self._led_to:
                await asyncio.sleep(0.05)

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self) -> None:
        """Each replica is asked by itself: one that answers late says nothing about the others."""
        asked: set[Replica] = set()
        while True:
            for each in self.replicas:
                if each not in asked:
                    asked.add(each)
                    self._keep(self._ask(each))
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, replica: Replica) -> None:
        while replica in self.replicas and not replica.is_told_to_end:
            replica.is_ready = await _is_ready(replica.process.health_port)
            self._lead_later()
            await asyncio.sleep(POLL_SECONDS)

    def _lead_later(self) -> None:
        """Lead to those that are ready and may stay, when a cluster would have told its nodes so."""
        chosen = [each for each in self.replicas if each.is_ready and not each.is_told_to_end]
        if chosen != self._chosen:
            self._chosen = chosen
            asyncio.get_running_loop().call_later(LATE_SECONDS, setattr, self, "_led_to", chosen)

    def tell_to_end(self, replica: Replica) -> None:
        """End a replica; a cluster takes it out of its Services at that moment, whatever its readiness says."""
        replica.is_told_to_end = True
        self._lead_later()
        replica.process.process.terminate()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            if not self._led_to:
                raise ConnectionRefusedError("no replica is ready")
            replica = self._led_to[next(self._turn) % len(self._led_to)]
            theirs, to_them = await asyncio.open_connection("127.0.0.1", replica.port)
        except OSError:
            self.refused += 1
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, to_them), _copy(theirs, writer))
        except asyncio.CancelledError:
            pass
        finally:
            to_them.transport.abort()
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    # Either end closes whole connections, so a half that is over is over.
    with suppress(OSError, RuntimeError):
        await writer.drain()
        writer.close()


async def rolled(service: Service, make: Callable[[], Replica]) -> None:
    """Every replica is replaced as a Deployment does it: the next one is ready before one is told to end."""
    for old in list(service.replicas):
        new = make()
        service.replicas.append(new)
        await new.process.until_ready()
        service.tell_to_end(old)
        status = await asyncio.to_thread(old.process.process.wait, ENDS_SECONDS)
        assert status == 0, old.process.log.read_text()
        service.replicas.remove(old)
