"""A real Caddy in front of a real gate, with a scripted access service behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from cmbcluster.edge.caddy import Caddy, addresses
from cmbcluster.edge.caddyfile import EdgePlan
from cmbcluster.edge.gate import Gate
from cmbcluster.edge.gate_server import GateServer
from cmbcluster.edge.relay import Relay
from cmbcluster.edge.rooms import EdgeRooms, close_rooms, open_rooms
from cmbcluster.edge.servers import SocketServer
from cmbcluster.settings import Settings
from tests.edge.stand_ins import ScriptedAccess, echo_server, free_port


class Streams:
    """A stream of the dashboard that says one thing and then waits for ever."""

    def __init__(self) -> None:
        self.open = 0

    async def _lines(self) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            yield b"first\n"
            await asyncio.Event().wait()
        finally:
            self.open -= 1

    async def answer(self, _: Request) -> StreamingResponse:
        """The route."""
        return StreamingResponse(self._lines(), media_type="application/x-ndjson")


@dataclass
class Edge:
    """Everything a test of the edge may touch."""

    port: int
    application_port: int
    access: ScriptedAccess
    caddy: Caddy
    gate: GateServer
    relay: Relay
    rooms: EdgeRooms
    client: httpx.AsyncClient
    streams: Streams

    async def get(self, path: str = "/", host: str = "demo-k7q2mx.localhost", **headers: str) -> httpx.Response:
        """Ask an environment's host. Underscores in names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, headers={"Host": f"{host}:{self.port}", **named})


async def dashboard(request: Request) -> JSONResponse:
    """What the web application got."""
    return JSONResponse({"path": request.url.path, "headers": request.headers.items()})


@pytest.fixture
def behind_proxies() -> bool:
    """Whether the settings say that proxies stand in front; a test may say otherwise."""
    return False


@pytest.fixture
async def edge(tmp_path: Path, behind_proxies: bool) -> AsyncIterator[Edge]:
    """The edge, the gate and an application, as ``cmbcluster up`` puts them together."""
    settings = Settings(data_dir=tmp_path, port=free_port(), _env_file=None)
    async with open_edge(tmp_path, settings, ScriptedAccess(), behind_proxies=behind_proxies) as opened:
        yield opened


@asynccontextmanager
async def open_edge(folder: Path, settings: Settings, access: Any, *, behind_proxies: bool) -> AsyncIterator[Edge]:
    """A real Caddy and gate over an access service."""
    port = settings.port
    assets = folder / "frontend"
    (assets / "assets").mkdir(parents=True)
    (assets / "assets" / "app-1.js").write_text("console.log('hello')\n")
    (assets / "assets" / "face.woff2").write_bytes(b"font")
    (assets / "secret.txt").write_text("not an asset")
    rooms = open_rooms(settings.run_dir)
    relay = Relay(access, rooms.relay, ask_again_seconds=0.2)
    gate = GateServer(Gate(access, settings, relay), rooms.gate)
    streams = Streams()
    web_app = Starlette(routes=[Route("/stream", streams.answer), Route("/{path:path}", dashboard)])
    web = SocketServer(web_app, rooms.web, lifespan=False, websockets=True)
    plan = EdgePlan(
        settings.host,
        port,
        addresses(settings.bind_address),
        rooms.web,
        rooms.gate,
        assets,
        "/assets/face.woff2",
        behind_proxies=behind_proxies,
    )
    caddy = Caddy(rooms)
    await relay.start()
    await gate.start()
    await web.start()
    await caddy.start(plan)
    async with echo_server() as application, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield Edge(port, application, access, caddy, gate, relay, rooms, client, streams)
        await caddy.stop()
        await web.stop()
        await gate.stop()
        await relay.stop()
    close_rooms(rooms)
    assert not settings.run_dir.exists()
