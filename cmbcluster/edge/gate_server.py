"""Serves the gate to the edge: the few bytes of each answer, with as little work as possible.

Every request to every environment waits for the gate, and a general web server does more
for each than the gate does. This one speaks only what the edge speaks over a private socket
or network, and must never be reachable by anybody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from http import HTTPStatus
from typing import Any

import httptools
from starlette.types import ASGIApp, Message

from cmbcluster.edge.places import Place, let_go, listen

LEAVE_SECONDS = 3.0
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One kept connection of the edge. Requests are answered one after the other."""

    def __init__(self, app: ASGIApp, open_connections: set[_Connection]) -> None:
        self._app = app
        self._open = open_connections
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._waiting: deque[tuple[dict[str, Any], bool]] = deque()
        self.task: asyncio.Task[None] | None = None

    # ---- the event loop calls these ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The edge dialled."""
        self._transport = transport  # type: ignore[assignment]
        self._open.add(self)

    def connection_lost(self, _why: Exception | None) -> None:
        """The edge hung up. What is under way goes on: it may be using up a one-time code."""
        self._open.discard(self)
        self._transport = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # The gate speaks no other protocol; it answers in this one and hangs up.
        except httptools.HttpParserError:
            self._write(_BAD_REQUEST, stays=False)

    # ---- the parser calls these ----

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        """Some of its address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        """It is there, with a body that nobody reads."""
        path, _, query = self._url.partition(b"?")
        scope = {
            "type": "http",
            "method": self._parser.get_method().decode("ascii"),
            "path": path.decode("latin-1"),
            "query_string": query,
            "headers": self._headers,
        }
        stays = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._waiting.append((scope, stays))
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._answer_all())

    # ---- answering ----

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                scope, stays = self._waiting.popleft()
                await self._answer(scope, stays=stays)
        finally:
            self.task = None

    async def _answer(self, scope: dict[str, Any], *, stays: bool) -> None:
        pieces: list[bytes] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                pieces.append(_STATUS_LINES[message["status"]])
                pieces.extend(b"%b: %b\r\n" % header for header in message["headers"])
                pieces.append(b"\r\n" if stays else b"connection: close\r\n\r\n")
            elif scope["method"] != "HEAD":
                pieces.append(message["body"])

        await self._app(scope, _nothing_to_read, send)
        self._write(b"".join(pieces), stays=stays)

    def _write(self, data: bytes, *, stays: bool) -> None:
        if self._transport is None:
            return
        self._transport.write(data)
        if not stays:
            self._transport.close()

    def hang_up(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()


async def _nothing_to_read() -> Message:
    return {"type": "http.disconnect"}


class GateServer:
    """The gate on its place. ``app`` answers with one start and one body, as the gate does."""

    def __init__(self, app: ASGIApp, place: Place, *, leave_seconds: float = LEAVE_SECONDS) -> None:
        self._app = app
        self._place = place
        self._leave_seconds = leave_seconds
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self._app, self._open), sock=listen(self._place))

    async def stop(self) -> None:
        """Let answers under way be given, then close every connection."""
        if self._server is None:
            return
        self._server.close()
        under_way = [connection.task for connection in self._open if connection.task is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=self._leave_seconds)
        for connection in list(self._open):
            if connection.task is not None:
                connection.task.cancel()
            connection.hang_up()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), LEAVE_SECONDS)
        let_go(self._place)
