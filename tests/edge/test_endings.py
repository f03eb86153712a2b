"""Connections that are kept between requests, while one side or the other is about to end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from cmbcluster.domain.gate import GateAnswer, Verdict
from cmbcluster.edge.caddy import Caddy
from cmbcluster.edge.caddyfile import EdgePlan
from cmbcluster.edge.gate import Gate
from cmbcluster.edge.gate_server import GateServer
from cmbcluster.edge.places import TcpPlace
from cmbcluster.edge.relay import Relay
from cmbcluster.edge.rooms import close_rooms, open_rooms
from cmbcluster.settings import Settings
from tests.edge.stand_ins import COOKIE, ScriptedAccess, free_port

LINGER_SECONDS = 2
HOSTS = ("localhost", "demo-k7q2mx.localhost")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Leaving:
    """Keeps each connection after its first request and hangs up on its second, as whoever is just ending does."""

    answered: Counter[str] = field(default_factory=Counter)
    hung_up: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            for first in (True, False):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if not first:
                    self.hung_up += 1
                    return
                self.answered[head.partition(" ")[0]] += 1
                writer.write(ANSWER)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        """On a port of its own."""
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]


@dataclass
class Front:
    """A Caddy whose web and whose environments are the same server."""

    caddy: Caddy
    gate: GateServer
    port: int
    behind: Leaving
    client: httpx.AsyncClient

    async def ask(self, method: str, host: str) -> httpx.Response:
        """One request, by a connection that is kept."""
        headers = {"Host": f"{host}:{self.port}", "Cookie": COOKIE}
        content = json.dumps({"n": 1}) if method == "POST" else None
        return await self.client.request(method, "/hello", headers=headers, content=content)


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """As the role edge makes it: web and gate are behind addresses."""
    settings = Settings(data_dir=tmp_path, port=free_port(), _env_file=None)
    rooms, access, behind = open_rooms(settings.run_dir), ScriptedAccess(), Leaving()
    relay = Relay(access, TcpPlace("127.0.0.1", free_port()))
    place = TcpPlace("127.0.0.1", free_port())
    gate = GateServer(Gate(access, settings, relay), place)
    await gate.start()
    caddy = Caddy(rooms)
    async with behind.served() as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}") as client:
        access.answer = GateAnswer(Verdict.PASS, host="127.0.0.1", port=port)
        web = TcpPlace("127.0.0.1", port)
        plan = EdgePlan("localhost", settings.port, ("127.0.0.1",), web, place, None, linger_seconds=LINGER_SECONDS)
        await caddy.start(plan)
        yield Front(caddy, gate, settings.port, behind, client)
        await caddy.stop(LINGER_SECONDS + 5)
    await gate.stop()
    close_rooms(rooms)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_change_is_never_lost_on_a_connection_that_the_other_side_is_closing(front: Front, host: str) -> None:
    times = 5
    for _ in range(times):
        assert (await front.ask("GET", host)).status_code == 200
        assert (await front.ask("POST", host)).status_code == 200
    assert front.behind.answered == {"GET": times, "POST": times}
    # What may be sent again goes by connections that are kept, and was sent again.
    assert front.behind.hung_up


async def test_an_edge_that_is_told_to_end_answers_and_lets_go_of_its_connections(front: Front) -> None:
    for host in HOSTS:
        answer = await front.ask("GET", host)
        assert "connection" not in answer.headers
    ending = asyncio.create_task(front.caddy.stop(LINGER_SECONDS + 5))
    async with asyncio.timeout(LINGER_SECONDS):
        for host in HOSTS:
            while (await front.ask("GET", host)).headers.get("connection") != "close":
                await asyncio.sleep(0.01)
            # It takes new connections still.
            assert (await front.ask("POST", host)).headers["connection"] == "close"
    await ending
    with pytest.raises(httpx.ConnectError):
        await front.ask("GET", HOSTS[0])


async def test_a_gate_that_is_away_is_said_in_words(front: Front) -> None:
    host = HOSTS[1]
    await front.gate.stop()
    answer = await front.ask("GET", host)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5")
    assert "CMBCluster is starting or stopping" in answer.text
    await front.gate.start()
    assert (await front.ask("GET", host)).status_code == 200
