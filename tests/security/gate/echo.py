"""An application that keeps every byte it gets, and one that listens where the gate should."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from cmbcluster.domain.gate import GateAnswer, Verdict
from tests.edge.conftest import Edge
from tests.edge.stand_ins import COOKIE

HOST = "demo-k7q2mx.localhost"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Arrived:
    """What reached the application, one entry for each connection."""

    port: int
    connections: list[bytearray] = field(default_factory=list)

    @property
    def all(self) -> bytes:
        """Every byte, whichever connection it came over."""
        return b"\n".join(bytes(each) for each in self.connections)

    def forget(self) -> None:
        """Begin anew, also with connections that are kept."""
        for each in self.connections:
            each.clear()


@contextlib.asynccontextmanager
async def keeping() -> AsyncIterator[Arrived]:
    """An application that answers each head with two bytes and keeps what it read."""

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = bytearray()
        arrived.connections.append(mine)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                mine += data
                for _ in range(data.count(b"HTTP/1.1\r\n")):
                    writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(read, "127.0.0.1", 0)
    arrived = Arrived(server.sockets[0].getsockname()[1])
    try:
        yield arrived
    finally:
        server.close()


@contextlib.asynccontextmanager
async def gate_that_says(path: Path, answer: bytes, *, stays: bool = False) -> AsyncIterator[None]:
    """In place of the gate, a server that answers everything with the same bytes, whatever they are."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if stays:
                await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(say, str(path))
    try:
        yield
    finally:
        server.close()


def let_in(edge: Edge, port: int) -> None:
    """The gate's answer is a pass to this port."""
    edge.access.answer = GateAnswer(Verdict.PASS, host="127.0.0.1", port=port)


def head(edge: Edge, *lines: str, first: str = "GET / HTTP/1.1", cookie: str = COOKIE) -> bytes:
    """The head of a request that the gate would pass."""
    host = f"Host: {HOST}:{edge.port}"
    return "\r\n".join([first, host, f"Cookie: {cookie}", *lines, "", ""]).encode("latin-1")


@dataclass
class Said:
    """What the edge answered on one connection, and whether it closed it by itself."""

    text: str
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """The status of each answer."""
        return [int(status) for status in re.findall(r"HTTP/1\.[01] (\d{3})", self.text)]


async def send(edge: Edge, data: bytes, *, within: float = 3.0, quiet: float = 0.7) -> Said:
    """Send bytes as they are; read until the edge closes, or says nothing more for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(data)
    said, closed = b"", False
    try:
        while True:
            piece = await asyncio.wait_for(reader.read(65536), quiet if said else within)
            if not piece:
                closed = True
                break
            said += piece
    except TimeoutError:
        pass
    except ConnectionError:
        closed = True
    finally:
        writer.close()
    return Said(said.decode("latin-1"), closed)
