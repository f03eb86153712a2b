"""Two of each role over PostgreSQL, Redis and a cluster, and a random one killed every few seconds (F2).

Scripts ask meanwhile and keep a ledger outside; at the end ``ledger.check`` holds it against database and cluster.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.edge.stand_ins import free_port
from tests.faults.clients import Client
from tests.faults.found import is_quiet, rows_of, watched, world
from tests.faults.ledger import LIST, Ledger, check, read
from tests.faults.lengths import lasting
from tests.kubernetes.cluster import PYTHON, admin_of, until_true, wanted
from tests.kubernetes.conftest import index_url, namespace  # noqa: F401 - fixtures
from tests.roles.conftest import Process, Roles, database, pages  # noqa: F401 - fixtures
from tests.servers.redis import RedisServer, redis_server  # noqa: F401 - a fixture

pytestmark = [pytest.mark.kubernetes, pytest.mark.index, pytest.mark.timeout(600)]

CHAOS_SECONDS = lasting(60, full=180)
PAUSE_SECONDS = (2.0, 5.0)
QUIET_SECONDS = 60.0
# Both may run five at once; each script has one that runs.
PEOPLE = ("elena", "ravi")
CLIENTS_EACH = 4


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

    async def kill_at_random(self, chance: random.Random, seconds: float, ledger: Ledger) -> None:
        """Kill whose other half works, every few seconds, mostly within a call; return when all work again."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            while time.monotonic() < end:
                await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
                await _call_begun(ledger)
                await asyncio.sleep(chance.uniform(0, 0.02))
                ready = Counter(each.role for each in self.replicas if each.is_ready)
                able = [each for each in self.replicas if each.is_ready and ready[each.role] == 2]
                if able:
                    chosen = chance.choice(able)
                    chosen.is_ready = False
                    tasks.create_task(chosen.kill())


async def _call_begun(ledger: Ledger) -> None:
    """Return within a millisecond or two of a call's begin, so that a kill meets calls on their way."""
    before, end = ledger.calls, time.monotonic() + 2
    while ledger.calls == before and time.monotonic() < end:
        await asyncio.sleep(0.001)


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


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Outside of everything that is killed."""
    with closing(Ledger(tmp_path / "ledger")) as made:
        yield made


async def token_of(crew: Crew, person: str) -> str:
    headers = {"Host": f"localhost:{crew.roles.port}", "Origin": crew.roles.url}
    async with httpx.AsyncClient(base_url=crew.webs()[0], headers=headers, timeout=20) as client:
        assert (await client.post("/auth/development", data={"person": person})).status_code == 303
        answer = await client.post("/api/tokens", json={"name": "t", "scopes": ["read", "launch"], "days": 7})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])


async def test_f2_what_was_acknowledged_is_there_once_whatever_was_killed(
    crew: Crew,
    database: str,  # noqa: F811
    namespace: str,  # noqa: F811
    tmp_path: Path,
    ledger: Ledger,
    chance: random.Random,
) -> None:
    tokens = {person: await token_of(crew, person) for person in PEOPLE}
    host = f"localhost:{crew.roles.port}"
    clients = [  # Each with chance of its own, that follows from the printed seed.
        Client(f"c{number}", tokens[person], crew.webs(), host, random.Random(chance.random()), ledger)  # noqa: S311
        for number, person in enumerate(PEOPLE * CLIENTS_EACH)
    ]
    async with admin_of(namespace) as admin, watched(admin) as seen:
        with ThreadPoolExecutor(len(clients)) as threads:
            asked = [asyncio.wrap_future(threads.submit(client.run, CHAOS_SECONDS)) for client in clients]
            await crew.kill_at_random(chance, CHAOS_SECONDS, ledger)
            await asyncio.gather(*asked)
        _print_what_happened(crew, clients)
        began = time.monotonic()
        await until_true(lambda: is_quiet(database, admin), QUIET_SECONDS)
        print(f"quiet after {time.monotonic() - began:.1f} s")
        lines, found = read(tmp_path / "ledger"), await world(database, admin, seen.removed_claims)
        assert check(lines, found) == []
        assert seen.doubled == []
        await _running_ones_answer(database)
    ends = Counter(line.event for line in lines if line.act != LIST)
    print(f"ledger {dict(ends)}, {len(found.rows)} rows, {len(found.removed_claims)} claims removed")
    # It is a test only where much was asked, of much killed.
    assert sum(each.killed for each in crew.replicas) >= CHAOS_SECONDS / 15
    assert ends["ok"] >= CHAOS_SECONDS / 2
    assert ends["unknown"] >= CHAOS_SECONDS / 20
    assert len(found.rows) >= len(clients)
    # A web that is killed takes with it what it was being asked, one request of each client at most.
    webs_killed = sum(each.killed for each in crew.replicas if each.role == "web")
    assert sum(each.broken + each.errors for each in clients) <= webs_killed * len(clients)


def _print_what_happened(crew: Crew, clients: list[Client]) -> None:
    killed = Counter({each.role: 0 for each in crew.replicas})
    for each in crew.replicas:
        killed[each.role] += each.killed
    counts = {
        word: sum(getattr(each, word) for each in clients) for word in ("asked", "unsent", "left", "broken", "errors")
    }
    print(f"killed {dict(killed)}, requests {counts}")


async def _running_ones_answer(url: str) -> None:
    async with httpx.AsyncClient(timeout=10) as browser:
        for row in await rows_of(url):
            if row["phase"] == "running":
                assert (await browser.get(f"http://{row['endpoint_host']}:{row['endpoint_port']}/")).status_code == 200
