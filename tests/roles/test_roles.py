"""web, gate, controller and edge as separate processes over one database."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from cmbcluster.commands.roles.edge import reached
from cmbcluster.edge.places import TcpPlace
from tests.edge.stand_ins import free_port
from tests.roles.conftest import DRAIN_SECONDS, READY_SECONDS, Roles

ENDS_SECONDS = 60.0
ORDER = {"application": "cmb-explorer", "name": "planck"}
PERSON = "ada"


@pytest.fixture
async def platform(roles: Roles, pages: None) -> Roles:
    """Migrated, one process of each role, all ready."""
    await asyncio.to_thread(roles.migrate)
    for role in ("web", "gate", "controller", "edge"):
        roles.start(role)
    await asyncio.gather(*(each.until_ready() for each in roles.started[1:]))
    return roles


@pytest.fixture
async def browser(platform: Roles) -> AsyncIterator[Browser]:
    """Signed in."""
    made = Browser(platform)
    async with made.client:
        await made.sign_in()
        yield made


class Browser:
    """A person's browser, as far as these tests need one."""

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.client = httpx.AsyncClient(
            base_url=roles.url, headers={"Origin": roles.url}, timeout=20, follow_redirects=False
        )

    async def sign_in(self) -> None:
        """As a test person."""
        answer = await self.client.post("/auth/development", data={"person": PERSON})
        assert answer.status_code == 303, answer.text

    async def token(self) -> str:
        """A personal token that may launch."""
        answer = await self.client.post("/api/tokens", json={"name": "t", "scopes": ["read", "launch"], "days": 7})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def launch(self, token: str) -> dict[str, str]:
        """A running environment."""
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.roles.url, headers=headers, timeout=20) as api:
            made = await api.post("/api/v1/environments", json=ORDER)
            assert made.status_code in (201, 202), made.text
            for _ in range(200):
                seen = (await api.get(f"/api/v1/environments/{made.json()['id']}")).json()
                assert "phase" in seen, seen
                if seen["phase"] == "running":
                    listed = await api.get("/api/v1/environments")
                    assert [each["id"] for each in listed.json()["items"]] == [seen["id"]], listed.text
                    return dict(seen)
                await asyncio.sleep(0.1)
        raise AssertionError(f"it does not run: {seen}")

    async def enter(self, slug: str) -> tuple[str, str]:
        """Host of the environment and the cookie that opens it."""
        host = f"{slug}.localhost:{self.roles.port}"
        opened = await self.client.get(f"/open/{slug}")
        assert opened.status_code == 303, opened.text
        way = httpx.URL(opened.headers["location"]).raw_path.decode()
        entered = await self.client.get(way, headers={"Host": host, "Cookie": ""})
        assert entered.status_code == 303, entered.text
        return host, re.match(r"[^;]+", entered.headers["set-cookie"])[0]  # type: ignore[index]


async def _socket(host: str, port: int, cookie: str) -> ClientConnection:
    origin = Origin(f"http://{host}")
    socket = await connect(
        f"ws://{host}/ws", host="127.0.0.1", port=port, origin=origin, additional_headers={"Cookie": cookie}
    )
    # The application first says which headers it got.
    assert "cmb_environment" not in str(await socket.recv())
    return socket


async def test_roles_carry_a_person_to_an_environment_and_out_again(platform: Roles, browser: Browser) -> None:
    assert (await browser.client.get("/")).status_code == 200
    environment = await browser.launch(await browser.token())
    host, cookie = await browser.enter(environment["slug"])
    inside = await browser.client.get("/hello", headers={"Host": host, "Cookie": cookie})
    assert inside.status_code == 200
    stranger = await browser.client.get("/hello", headers={"Host": host, "Cookie": ""})
    assert stranger.status_code == 401
    socket = await _socket(host, platform.port, cookie)
    await socket.send("how far")
    assert "how far" in str(await socket.recv())
    # The relay is in one process and the sign-out in another, without a bus between them.
    assert (await browser.client.post("/auth/sign-out")).status_code == 303
    since = time.monotonic()
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(ENDS_SECONDS):
            await socket.recv()
    assert time.monotonic() - since < ENDS_SECONDS / 2
    assert (await browser.client.get("/hello", headers={"Host": host, "Cookie": cookie})).status_code == 401


async def test_nobody_outside_reaches_health_or_another_host(platform: Roles) -> None:
    async with httpx.AsyncClient(base_url=platform.url, timeout=10) as client:
        for path in ("/health/ready", "/health/live"):
            assert "ready" not in (await client.get(path)).text
        assert (await client.get("/", headers={"Host": "elsewhere.example.org"})).status_code == 421


async def test_a_told_role_is_unready_at_once_finishes_and_ends_well(platform: Roles, browser: Browser) -> None:
    environment = await browser.launch(await browser.token())
    host, cookie = await browser.enter(environment["slug"])
    socket = await _socket(host, platform.port, cookie)
    gate = next(each for each in platform.started if each.role == "gate")
    gate.process.send_signal(signal.SIGTERM)
    await gate.until("ready", 503, "It is ending.")
    # What was open has its grace.
    await socket.send("still there")
    assert "still there" in str(await socket.recv())
    assert await asyncio.to_thread(gate.process.wait, DRAIN_SECONDS + 5) == 0
    for each in reversed(platform.started[1:]):
        assert await asyncio.to_thread(each.end) == 0, each.log.read_text()


async def test_an_edge_is_ready_once_it_reaches_web_and_gate(roles: Roles, pages: None) -> None:
    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    web, gate = free_port(), free_port()
    edge = roles.start("edge", CMB_WEB_UPSTREAM=f"127.0.0.1:{web}", CMB_GATE_UPSTREAM=f"127.0.0.1:{gate}")
    async with await asyncio.start_server(take, "127.0.0.1", web):
        # It listens, and says so to whoever asks it all the same.
        async with httpx.AsyncClient(base_url=roles.url, timeout=20) as client:
            await until_answered(client)
        assert edge.health("ready") == (503, "It is starting.")
        assert not await reached((TcpPlace("127.0.0.1", web), TcpPlace("127.0.0.1", gate)), 0.3)
        async with await asyncio.start_server(take, "127.0.0.1", gate):
            await edge.until_ready()
    # One that was ready stays so: what is away later is told in words.
    assert edge.health("ready")[0] == 200


async def until_answered(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            with suppress(httpx.HTTPError):
                await client.get("/")
                return
            await asyncio.sleep(0.1)


async def test_a_role_waits_for_its_schema_and_says_so(roles: Roles, database: str) -> None:
    gate = roles.start("gate")
    await gate.until("ready", 503, "no schema yet")
    assert gate.health("live")[0] == 200
    await asyncio.to_thread(roles.migrate)
    await gate.until_ready()


@pytest.mark.parametrize(("revision", "word"), [("0001", "older"), ("ffff", "newer")])
async def test_a_role_refuses_another_schema(roles: Roles, database: str, revision: str, word: str) -> None:
    await asyncio.to_thread(roles.migrate)
    await _set_revision(database, revision)
    gate = roles.start("gate")
    await gate.until("ready", 503, word)
    assert gate.health("live")[0] == 200
    assert gate.end() == 0


async def test_a_running_role_outlives_an_upgrade_but_not_a_downgrade(roles: Roles, database: str) -> None:
    await asyncio.to_thread(roles.migrate)
    gate = roles.start("gate")
    await gate.until_ready()
    await _set_revision(database, "ffff")
    assert gate.health("ready")[0] == 200
    await _set_revision(database, "0001")
    assert gate.health("ready")[0] == 503


async def test_a_role_lives_without_its_database(roles: Roles) -> None:
    gate = roles.start("gate", CMB_DATABASE_URL="postgresql+asyncpg://cmb:nothing@127.0.0.1:1/none")
    await gate.until("ready", 503, "The database does not answer.")
    assert gate.health("live")[0] == 200
    assert gate.end() == 0
    assert "nothing" not in gate.log.read_text()


async def _set_revision(database: str, revision: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = $1", revision)
    finally:
        await connection.close()
