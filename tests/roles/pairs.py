"""Two webs and two gates over one database, each pair behind an edge of its own, and people at either.

Browsers call both edges by the one address of the dashboard, so what is asked at one and what
at the other differ in nothing but the replica that answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.db.database import Database
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.services.accounts import AccountService
from cmbcluster.services.rates import RateService
from cmbcluster.services.sessions import SessionService
from cmbcluster.services.shares import ShareService
from cmbcluster.settings import Settings
from tests.edge.stand_ins import free_port
from tests.roles.conftest import Process, Roles
from tests.security.hostile import Hostile

HERE, THERE = 0, 1
ORDER = {"application": "cmb-explorer", "name": "planck"}
LAUNCH_SECONDS = 60.0


@dataclass
class Pair:
    """A web, a gate and the edge in front of them."""

    web: Process
    gate: Process
    edge: Process
    port: int
    web_port: int


@dataclass
class Pairs:
    """Both pairs."""

    roles: Roles
    pairs: list[Pair] = field(default_factory=list)

    async def start(self, **changes: str) -> None:
        """Migrate, and return when all are ready."""
        self.roles.settings |= changes
        await asyncio.to_thread(self.roles.migrate)
        self.roles.start("controller")
        for index in (HERE, THERE):
            port = self.roles.port if index == HERE else free_port()
            web, gate, relay = (free_port() for _ in range(3))
            binds = {
                "CMB_WEB_BIND": f"127.0.0.1:{web}",
                "CMB_WEB_UPSTREAM": f"127.0.0.1:{web}",
                "CMB_GATE_BIND": f"127.0.0.1:{gate}",
                "CMB_GATE_UPSTREAM": f"127.0.0.1:{gate}",
                "CMB_RELAY_BIND": f"127.0.0.1:{relay}",
            }
            started = [self.roles.start(role, **binds) for role in ("web", "gate")]
            # Its address has the port that it listens on; the others are told the dashboard's.
            own = {"CMB_PORT": str(port), "CMB_DATA_DIR": f"{self.roles.settings['CMB_DATA_DIR']}-{index}"}
            started.append(self.roles.start("edge", **binds | own))
            self.pairs.append(Pair(started[0], started[1], started[2], port, web))
        await asyncio.gather(*(each.until_ready() for each in self.roles.started[1:]))

    def port_of(self, which: int) -> int:
        """Where browsers reach that pair."""
        return self.pairs[which].port

    @asynccontextmanager
    async def browser(self, which: int, person: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """A browser at one of the pairs; signed in when somebody is named."""
        headers = {"Origin": self.roles.url, "Host": f"localhost:{self.roles.port}"}
        base = f"http://localhost:{self.port_of(which)}"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=20) as client:
            if person:
                answer = await client.post("/auth/development", data={"person": person})
                assert answer.status_code == 303, answer.text
            yield client

    async def token(self, client: httpx.AsyncClient) -> str:
        """A personal token that may launch."""
        answer = await client.post("/api/tokens", json={"name": "t", "scopes": ["read", "launch"], "days": 7})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def running(self, client: httpx.AsyncClient, token: str) -> dict[str, str]:
        """An environment that runs."""
        headers = {"Authorization": f"Bearer {token}", "Cookie": ""}
        made = await client.post("/api/v1/environments", json=ORDER, headers=headers)
        assert made.status_code in (201, 202), made.text
        async with asyncio.timeout(LAUNCH_SECONDS):
            while True:
                seen = (await client.get(f"/api/v1/environments/{made.json()['id']}", headers=headers)).json()
                if seen["phase"] == "running":
                    return dict(seen)
                await asyncio.sleep(0.2)

    async def enter(self, client: httpx.AsyncClient, slug: str) -> str:
        """The cookie that opens an environment to whoever is signed in."""
        opened = await client.get(f"/open/{slug}")
        assert opened.status_code == 303, opened.text
        way = httpx.URL(opened.headers["location"]).raw_path.decode()
        entered = await client.get(way, headers={"Host": self.host(slug), "Cookie": ""})
        assert entered.status_code == 303, entered.text
        found = re.match(r"[^;]+", entered.headers["set-cookie"])
        assert found is not None
        return found[0]

    def host(self, slug: str) -> str:
        """What an environment is called."""
        return f"{slug}.localhost:{self.roles.port}"

    async def socket(self, which: int, slug: str, cookie: str) -> ClientConnection:
        """An environment's socket, through the gate of that pair."""
        host = self.host(slug)
        socket = await connect(
            f"ws://{host}/ws", host="127.0.0.1", port=self.port_of(which), origin=Origin(f"http://{host}"),
            additional_headers={"Cookie": cookie},
        )  # fmt: skip
        # The application first says which headers it got.
        await socket.recv()
        return socket

    @contextmanager
    def tab(self, which: int, cookie: str, token: str) -> Iterator[Hostile]:
        """A page's socket, at the web of that pair. Blocking, as its client is."""
        made = Hostile(f"http://localhost:{self.port_of(which)}", token)
        made.open(cookie, origin=self.roles.url, host=f"localhost:{self.roles.port}")
        try:
            yield made
        finally:
            made.close()


class Office:
    """Services in the test's own process, over the same database, whose rings nobody hears."""

    def __init__(self, url: str, keys: Path) -> None:
        settings = Settings(session_cache_seconds=0, _env_file=None)
        self.database, bus = Database(url.replace("postgresql://", "postgresql+asyncpg://", 1)), MemoryBus()
        self.sessions = SessionService(self.database, bus, settings, Keyring.of_given_file(keys))
        self.accounts = AccountService(self.database, bus)
        self.shares = ShareService(self.database, bus, RateService(settings))

    async def actor(self, client: httpx.AsyncClient) -> Actor:
        """Who is signed in there."""
        found = await self.sessions.find(client.cookies[SESSION_COOKIE])
        assert found is not None
        return found
