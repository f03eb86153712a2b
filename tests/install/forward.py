"""``python -m tests.install.forward FROM_HOST FROM_PORT TO_HOST TO_PORT`` carries TCP connections on.

Browsers know the platform as a name of this machine, and pods reach one address of it alone; this leads them on, as
a load balancer would. It must never look into what it carries.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection
from subprocess import Popen
from time import monotonic, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 65536
DIAL_SECONDS = 5
START_SECONDS = 10
ROOT = Path(__file__).parents[2]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()


async def _serve(from_host: str, from_port: int, to_host: str, to_port: int) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = asyncio.open_connection(to_host, to_port)
            their_reader, their_writer = await asyncio.wait_for(there, DIAL_SECONDS)
        except (OSError, TimeoutError):
            writer.close()
            return
        try:
            await asyncio.gather(_copy(reader, their_writer), _copy(their_reader, writer))
        finally:
            writer.close()
            their_writer.close()

    async with await asyncio.start_server(carry, from_host, from_port) as server:
        await server.serve_forever()


@contextmanager
def forwarded(from_host: str, from_port: int, to_host: str, to_port: int) -> Iterator[None]:
    """Lead connections on while the block runs, from a process of its own."""
    words = [from_host, str(from_port), to_host, str(to_port)]
    process = Popen([sys.executable, "-m", "tests.install.forward", *words], cwd=ROOT)
    try:
        give_up_at = monotonic() + START_SECONDS
        while True:
            with suppress(OSError):
                create_connection((from_host, from_port), 1).close()
                break
            assert process.poll() is None, f"nothing can listen on {from_host}:{from_port}"
            assert monotonic() < give_up_at, f"nobody listens on {from_host}:{from_port}"
            sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    host, port, target, target_port = sys.argv[1:]
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(host, int(port), target, int(target_port)))
