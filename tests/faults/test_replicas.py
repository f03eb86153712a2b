"""Two of each role over PostgreSQL, Redis and a cluster, and a random one killed every few seconds.

What was acknowledged is there exactly once at the end, as it was last wished for; nothing else is.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.edge.stand_ins import free_port
from tests.kubernetes.cluster import PYTHON, Admin, admin_of, until_true, wanted
from tests.kubernetes.conftest import index_url, namespace  # noqa: F401 - fixtures
from tests.roles.conftest import Process, Roles, database, pages  # noqa: F401 - fixtures
from tests.servers.redis import RedisServer, redis_server  # noqa: F401 - a fixture

pytestmark = [pytest.mark.kubernetes, pytest.mark.index, pytest.mark.timeout(600)]

CHAOS_SECONDS = 60.0
PAUSE_SECONDS = (2.0, 5.0)
QUIET_SECONDS = 180.0
CLIENTS = (("elena", 1), ("elena", 2), ("ravi", 3), ("ravi", 4))
AT_ONCE = 2
MOST = 8
PROGRAM = {
    "requirements": "idna",
    "python": PYTHON,
    "command": "python -u -m http.server {port} --bind {address}",
    "port": 8501,
}
OVER = ("stopped", "failed", "gone")


@dataclass
class Replica:
    """One of two processes of a role, which starts again where it was."""

    roles: Roles
    role: str
    settings: dict[str, str]
    process: Process | None = None
    is_ready: bool = False
    killed: int = 0

    async def start(self) -> None:
        self.process = await asyncio.to_thread(lambda: self.roles.start(self.role, **self.settings))
        await self.process.until_ready()
        self.is_ready = True

    async def kill(self) -> None:
        assert self.process is not None
        self.is_ready = False
        self.killed += 1
        self.process.process.kill()
        await asyncio.to_thread(self.process.process.wait)
        await self.start()


@dataclass
class Crew:
    """All replicas."""

    roles: Roles
    replicas: list[Replica] = field(default_factory=list)

    def webs(self) -> list[str]:
        return [f"http://{each.settings['CMB_WEB_BIND']}" for each in self.replicas if each.role == "web"]

    async def kill_at_random(self, chance: random.Random, seconds: float) -> None:
        """Kill whose other half works, every few seconds; return when all work again."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            while time.monotonic() < end:
                await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
                ready = Counter(each.role for each in self.replicas if each.is_ready)
                able = [each for each in self.replicas if each.is_ready and ready[each.role] == 2]
                if able:
                    chosen = chance.choice(able)
                    chosen.is_ready = False
                    tasks.create_task(chosen.kill())


@dataclass
class Client:
    """A script: it launches, stops, deletes and lists, and asks again, elsewhere, where nobody answered."""

    number: int
    token: str
    webs: list[str]
    host: str
    chance: random.Random
    wished: dict[str, str] = field(default_factory=dict)  # name: running, stopped or gone, as it was acknowledged
    lost: int = 0

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", "Host": self.host, **more.pop("headers", {})}
        end = time.monotonic() + QUIET_SECONDS
        async with httpx.AsyncClient(timeout=20) as client:
            while time.monotonic() < end:
                with suppress(httpx.TransportError):
                    url = self.chance.choice(self.webs) + "/api/v1" + path
                    answer = await client.request(method, url, headers=headers, **more)
                    if answer.status_code not in (429, 502, 503):
                        return answer
                self.lost += 1
                await asyncio.sleep(self.chance.uniform(0.1, 0.4))
        raise AssertionError(f"{method} {path} was not answered in {QUIET_SECONDS} s")

    async def launch(self) -> None:
        name = f"c{self.number}-{len(self.wished)}"
        body = {"application": "custom", "name": name, "size": "small", "custom": PROGRAM}
        answer = await self.ask("POST", "/environments", json=body, headers={"Idempotency-Key": name})
        assert answer.status_code == 201, answer.text
        self.wished[name] = "running"

    async def end(self, name: str) -> None:
        if self.chance.random() < 0.5:
            assert (await self.ask("POST", f"/environments/{name}/stop")).status_code == 200
            self.wished[name] = "stopped"
            return
        answer = await self.ask("DELETE", f"/environments/{name}", params={"workspace": "remove", "confirm": name})
        # Asked again after an answer that was lost, it is not there any more.
        assert answer.status_code in (204, 404), answer.text
        self.wished[name] = "gone"

    async def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = await self.ask("GET", "/environments", params={"limit": 100})
            assert answer.status_code == 200, answer.text
            listed = answer.json()["items"]
            mine = {each["name"]: each for each in listed if each["name"].startswith(f"c{self.number}-")}
            assert len(mine) == len([each for each in listed if each["name"] in mine]), "a launch was doubled"
            active = [name for name, each in mine.items() if each["phase"] not in OVER]
            if len(active) < AT_ONCE and len(self.wished) < MOST:
                await self.launch()
            elif going := [name for name in active if self.wished[name] == "running"]:
                await self.end(self.chance.choice(going))
            await asyncio.sleep(self.chance.uniform(0.5, 3))


@pytest.fixture
async def crew(
    tmp_path: Path,
    database: str,  # noqa: F811
    redis_server: RedisServer,  # noqa: F811
    namespace: str,  # noqa: F811
    index_url: str,  # noqa: F811
    pages: None,  # noqa: F811
) -> AsyncIterator[Crew]:
    """Two webs, two gates and two controllers that work."""
    folder = Path(tempfile.mkdtemp(prefix="cmb-", dir="/tmp"))
    folder.chmod(0o755)
    roles = Roles(tmp_path, database, 0, "cmbcluster")
    roles.settings |= {
        "CMB_DATA_DIR": str(folder),
        "CMB_REDIS_URL": redis_server.url,
        "CMB_KUBERNETES_NAMESPACE": namespace,
        "CMB_KUBERNETES_PACKAGES_BYTES": str(1024**3),
        "CMB_KUBERNETES_STOP_GRACE_SECONDS": "1",
        # Two cores are there for all that wants to run at once, and for what other tests run.
        "CMB_KUBERNETES_CPU_REQUEST_PERCENT": "2",
        "CMB_KUBERNETES_MEMORY_REQUEST_PERCENT": "10",
        "CMB_WORKSPACE_IMAGE": wanted("CMB_TEST_WORKSPACE_IMAGE"),
        "CMB_WORKSPACE_PYTHON": PYTHON,
        "CMB_PACKAGE_INDEX_URL": index_url,
        "CMB_API_REQUESTS_PER_MINUTE": "100000",
        "CMB_CONTROLLER_LEASE_SECONDS": "3",
        "CMB_SWEEP_SECONDS": "5",
    }
    made = Crew(roles)
    for role in ("web", "gate", "controller"):
        for _ in range(2):
            binds = {"web": ("CMB_WEB_BIND",), "gate": ("CMB_GATE_BIND", "CMB_RELAY_BIND")}.get(role, ())
            made.replicas.append(Replica(roles, role, {bind: f"127.0.0.1:{free_port()}" for bind in binds}))
    try:
        await asyncio.to_thread(roles.migrate)
        await asyncio.gather(*(each.start() for each in made.replicas))
        yield made
    finally:
        await asyncio.to_thread(roles.end)
        shutil.rmtree(folder, ignore_errors=True)


async def token_of(crew: Crew, person: str) -> str:
    headers = {"Host": f"localhost:{crew.roles.port}", "Origin": crew.roles.url}
    async with httpx.AsyncClient(base_url=crew.webs()[0], headers=headers, timeout=20) as client:
        assert (await client.post("/auth/development", data={"person": person})).status_code == 303
        answer = await client.post("/api/tokens", json={"name": "t", "scopes": ["read", "launch"], "days": 7})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])


async def rows_of(url: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
    try:
        return list(await connection.fetch("SELECT * FROM environments"))
    finally:
        await connection.close()


async def test_f2_every_acknowledged_launch_is_there_once_whatever_was_killed(
    crew: Crew,
    database: str,  # noqa: F811
    namespace: str,  # noqa: F811
    chance: random.Random,
) -> None:
    tokens = {person: await token_of(crew, person) for person in dict(CLIENTS)}
    host = f"localhost:{crew.roles.port}"
    clients = [  # Each with chance of its own, that follows from the printed seed.
        Client(number, tokens[person], crew.webs(), host, random.Random(chance.random()))  # noqa: S311
        for person, number in CLIENTS
    ]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crew.kill_at_random(chance, CHAOS_SECONDS))
        for client in clients:
            tasks.create_task(client.run(CHAOS_SECONDS))
    wished = {name: wish for client in clients for name, wish in client.wished.items()}
    killed = Counter({each.role: 0 for each in crew.replicas})
    for each in crew.replicas:
        killed[each.role] += each.killed
    print(f"killed {dict(killed)}, {len(wished)} launches, {sum(each.lost for each in clients)} requests asked again")
    assert sum(killed.values()) >= 4
    assert len(wished) >= len(CLIENTS) * AT_ONCE

    async def is_quiet() -> bool:
        rows = await rows_of(database)
        return all(
            row["phase"] == ("running" if row["desired"] == "running" else row["phase"]) for row in rows
        ) and all(row["phase"] in ("running", *OVER) for row in rows)

    await until_true(is_quiet, QUIET_SECONDS)
    rows = await rows_of(database)
    assert Counter(row["name"] for row in rows) == Counter(wished.keys())
    assert {row["name"]: row["phase"] for row in rows} == wished
    async with AsyncExitStack() as stack:
        admin: Admin = await stack.enter_async_context(admin_of(namespace))
        running = {f"env-{row['slug']}" for row in rows if row["phase"] == "running"}
        await until_true(lambda: _same(admin, "pods", running), QUIET_SECONDS)
        kept = {f"workspace-{row['slug']}" for row in rows if row["phase"] != "gone"}
        await until_true(lambda: _same(admin, "persistentvolumeclaims", kept | {"cmbcluster-packages"}), QUIET_SECONDS)
        pages = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        for row in rows:
            if row["phase"] == "running":
                assert (await pages.get(f"http://{row['endpoint_host']}:{row['endpoint_port']}/")).status_code == 200


async def _same(admin: Admin, kind: str, names: set[str]) -> bool:
    return await admin.names(kind) == names
