"""A Redis of a test's own: Debian's ``redis-server`` on a free port, killed and started again at will.

Where the program is missing the tests are skipped with the reason; with CMB_REQUIRE_ALL they fail.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ABSENT = "needs redis-server: apt-get install redis-server"
STARTS_WITHIN_SECONDS = 10


class RedisServer:
    """One server. It keeps nothing: what is killed comes back empty."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, as in CMB_REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + STARTS_WITHIN_SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 0.5) as client:
                    client.sendall(b"PING\r\n")
                    if client.recv(5) == b"+PONG":
                        return
            except OSError:
                pass
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hold its connections and say nothing more."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that answers."""
    if shutil.which("redis-server") is None:
        (pytest.fail if os.environ.get("CMB_REQUIRE_ALL") else pytest.skip)(ABSENT)
    server = RedisServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def eventually(condition: object, within_seconds: float = 5.0) -> None:
    """Wait until ``condition()`` holds."""
    assert callable(condition)
    until = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        await asyncio.sleep(0.01)
