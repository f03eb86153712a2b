"""Small true parts that the edge's tests talk to: an access service to script and an echo server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from cmbcluster.domain.gate import GateAnswer, Verdict
from cmbcluster.domain.lifecycle import Desired, Phase, Stage, StopReason
from cmbcluster.domain.sources import Program, PythonSource
from cmbcluster.domain.views import EnvironmentView, ReasonView, StageView
from cmbcluster.errors import UserError

COOKIE = "cmb_environment=opaque-value"
NOW = datetime(2026, 3, 1, 15, 10, tzinfo=UTC)


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**changes: Any) -> EnvironmentView:
    """An environment as its owner sees it."""
    values: dict[str, Any] = {
        "id": UUID("0190163d-8694-739b-aea5-966c26f8ad91"),
        "name": "planck-lowl-anomalies",
        "slug": "planck-lowl-anomalies-k7q2mx",
        "address": "http://planck-lowl-anomalies-k7q2mx.localhost:8200",
        "application_id": "denario",
        "application_name": "Denario",
        "icon": "denario",
        "desired": Desired.STOPPED,
        "phase": Phase.STOPPED,
        "phase_since": NOW,
        "generation": 2,
        "cpu_millis": 4000,
        "memory_bytes": 8 * 1024**3,
        "uptime_seconds": 6 * 3600,
        "created_at": NOW - timedelta(hours=7),
        "asked_at": NOW - timedelta(hours=6),
        "running_since": None,
        "deadline_at": None,
        "last_seen_at": NOW,
        "can_extend": False,
        "extends_to": None,
        "reason": ReasonView(
            StopReason.DEADLINE,
            "It stopped at 15:10, after its 6 hours.",
            "Your workspace is kept. Start it again.",
            "",
        ),
        "source": PythonSource(("denario[app]",), "3.12"),
        "image": None,
        "program": Program(("denario", "run"), 8501, "/"),
        "lock_digest": "",
        "lock_packages": 0,
        "protection": None,
        "stages": (),
        "workspace_bytes": int(18.3 * 1024**3),
        "workspace_measured_at": NOW,
    }
    return EnvironmentView(**{**values, **changes})


def stage(which: Stage, done: int, total: int | None, unit: str) -> StageView:
    """A stage that is under way."""
    return StageView(which, NOW, None, done, total, unit, "", False, None)


class ScriptedAccess:
    """Answers what the test wrote into ``answer`` and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = GateAnswer(Verdict.NOT_YOURS)
        self.fails: Exception | None = None
        self.needs_cookie = True
        self.asked: list[tuple[str, str]] = []
        self.touches: list[bool] = []
        self.tokens_seen: list[str] = []
        self.known_tokens: set[str] = set()
        self.codes: dict[str, str] = {}

    async def authorize(self, host: str, cookie: str, *, token: str = "", touch: bool = True) -> GateAnswer:
        """The scripted answer, or SIGN_IN without the cookie or a token that is known."""
        self.asked.append((host, cookie))
        self.touches.append(touch)
        if self.fails is not None:
            raise self.fails
        self.tokens_seen.append(token)
        known = token in self.known_tokens if token else COOKIE in cookie
        if self.needs_cookie and not known:
            return GateAnswer(Verdict.SIGN_IN, open_url="http://localhost:8200/open/some-id")
        return self.answer

    async def redeem(self, host: str, code: str) -> str:
        """Codes are good once."""
        if code not in self.codes:
            raise UserError("This link was used already or is too old.", "Open the environment again.")
        return self.codes.pop(code)


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """An application: tells the headers it got, and repeats WebSocket messages."""

    def tell(connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers and request.path != "/refuse":
            return None
        if request.path == "/refuse":
            return connection.respond(403, "no")
        body = json.dumps({"path": request.path, "headers": list(request.headers.raw_items())}).encode()
        headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        # This server ends each connection after its answer; unsaid, the next request would be sent into the end.
        headers["Connection"] = "close"
        for cookie in (
            "plain=1; Path=/",
            "wide=2; Domain=localhost; Path=/",
            "cmb_session=evil",
            "CMB_environment=evil",
        ):
            headers["Set-Cookie"] = cookie
        return Response(200, "OK", headers, body)

    async def repeat(connection: ServerConnection) -> None:
        await connection.send(json.dumps(list(connection.request.headers.raw_items())))  # type: ignore[union-attr]
        async for message in connection:
            await connection.send(message)

    async with serve(repeat, "127.0.0.1", 0, process_request=tell, max_size=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def raw_request(port: int, text: str) -> str:
    """Send bytes as they are, since a client library would clean them up, and read the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.replace("\n", "\r\n").encode())
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer.decode("utf-8", "replace")


@contextlib.asynccontextmanager
async def rude_server(answer: bytes, *, stays: bool = True) -> AsyncIterator[int]:
    """An application that answers every request with the very same bytes, whatever they are."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if stays:
                await reader.read()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
