"""What the programs share: a data folder that goes away, free ports, children that end, and waiting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import structlog

END_SECONDS = 20.0


@contextlib.contextmanager
def data_folder() -> Iterator[Path]:
    """A data folder that the environments' account can pass, gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="cmb-bench-", dir="/tmp"))
    root.chmod(0o755)
    try:
        yield root / "data"
    finally:
        shutil.rmtree(root, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Different ports nobody listens on at the moment: all held until the last is found."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_port() -> int:
    """A port nobody listens on at the moment."""
    return free_ports(1)[0]


def quiet_logs() -> None:
    """Only warnings, so that writing lines to a terminal is not part of what is measured."""
    logging.basicConfig(level=logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@contextlib.contextmanager
def child(*words: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is ended afterwards, by force when it does not listen."""
    process = subprocess.Popen(words, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End one program that we started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


async def answers(port: int, path: str = "/") -> bool:
    """Whether a program on this machine answers with HTTP now."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        return (await reader.readline()).startswith(b"HTTP/1.")
    except OSError:
        return False
    finally:
        writer.close()


async def until(question: Callable[[], Awaitable[bool]], *, pause_seconds: float, most_seconds: float) -> None:
    """Ask until the answer is yes."""
    give_up_at = time.monotonic() + most_seconds
    while not await question():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"not so after {most_seconds:g} s")
        await asyncio.sleep(pause_seconds)


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    """The smallest application there is: it answers every request with the same few bytes, on a port of its own."""
    port = free_port()
    with child(sys.executable, "-m", "tests.bench.tiny_application", str(port)):
        await until(lambda: answers(port), pause_seconds=0.01, most_seconds=10)
        yield port
