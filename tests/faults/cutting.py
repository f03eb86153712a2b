"""A proxy in front of PostgreSQL that can cut a connection during COMMIT, on either side of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

COMMIT = b"COMMIT;"


@asynccontextmanager
async def cutting(url: str) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """A proxy in front of a database, and the database's address through it."""
    proxy = CuttingProxy(url)
    try:
        yield proxy, await proxy.open()
    finally:
        await proxy.close()


class CuttingProxy:
    """Carries connections to ``url``; ``cut_next`` cuts one as it commits.

    *before*: the server never hears of the COMMIT. *after*: it does, and its answer is lost.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._cuts: list[str] = []
        self.cut = 0

    async def open(self) -> str:
        """Begin to listen; returns the address of the database through here."""
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._url.netloc.rpartition("@")[0]
        return urlunsplit(self._url._replace(netloc=f"{user}@127.0.0.1:{port}"))

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        # What is carried meanwhile, also to a server that is being waited for, must not outlive the test's loop.
        for each in (carrying := set(self._carrying)):
            each.cancel()
        if carrying:
            await asyncio.wait(carrying)
        await asyncio.sleep(0.05)

    def cut_next(self, side: str) -> None:
        """Cut the next connection that commits."""
        self._cuts.append(side)

    def calm(self) -> None:
        """Cut nothing more."""
        self._cuts.clear()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._between(reader, writer)
        finally:
            writer.close()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            their_reader, their_writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        except OSError:
            # Who is not there refuses, as it would without us.
            return
        answers = asyncio.create_task(self._copy(their_reader, writer))
        try:
            while data := await reader.read(65536):
                if COMMIT in data and self._cuts:
                    self.cut += 1
                    if self._cuts.pop(0) == "after":
                        # The client must not hear of it, so the way back ends first.
                        answers.cancel()
                        await asyncio.wait([answers])
                        their_writer.write(data)
                        await their_writer.drain()
                        await their_reader.read(1)
                    return
                their_writer.write(data)
                await their_writer.drain()
        except OSError:
            return
        finally:
            answers.cancel()
            their_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()
