"""Two thousand environments on one controller: what it takes, how soon it sees a change, and how it comes back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil
from sqlalchemy import func
from sqlmodel import col, select

from cmbcluster.crypto.keyring import Keyring
from cmbcluster.database_settings import sqlalchemy_address
from cmbcluster.db.database import Database
from cmbcluster.db.models import Environment
from cmbcluster.domain.actors import Actor, Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.runtime.kubernetes.names import pod_name
from cmbcluster.services.contents import ImageRules
from cmbcluster.services.environments import EnvironmentService
from cmbcluster.services.rates import RateService
from cmbcluster.settings import Settings
from cmbcluster.wiring import open_bus
from tests.bench.report import ROOT, Row, Section, median, millis, publish, quantile
from tests.bench.simulated import CLASS, Simulated, simulated
from tests.bench.surroundings import data_folder, end, free_port, quiet_logs, until
from tests.faults.replicas import APPLICATION, people
from tests.postgres import Databases, databases
from tests.servers.redis import RedisServer

ENVIRONMENTS = int(os.environ.get("CMB_BENCH_ENVIRONMENTS") or 2000)
TAKEN_AWAY = min(200, ENVIRONMENTS // 2)
TAKEN_WHILE_AWAY = 20
STARTED_AGAIN = min(50, ENVIRONMENTS // 4)
LAUNCHES_AT_ONCE = 8
REST_SECONDS = float(os.environ.get("CMB_BENCH_REST_SECONDS") or 120.0)
TAKEN_EACH_SECONDS = 0.1
LOOK_SECONDS = 0.02
LAUNCH_SECONDS = 900.0
UPTIME_SECONDS = 4 * 3600
# At least what any tier's workspace asks for.
VOLUME_BYTES = 100 * 1024**3
GOAL_CORES = 1.0
GOAL_BYTES = 500 * 10**6
GOAL_SEEN_SECONDS = 1.0
GOAL_RESTART_SECONDS = 10.0


@dataclass
class Process:
    """The controller as a process, and what it wrote."""

    folder: Path
    surroundings: dict[str, str]
    log: Path = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> float:
        """Start it; the moment of it."""
        self.log = self.folder / f"controller-{time.monotonic_ns()}.log"
        began = time.perf_counter()
        with self.log.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.scale_controller", "controller"],
                cwd=self.folder,
                env=self.surroundings,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return began

    async def until_said(self, event: str, most_seconds: float = 120.0) -> dict[str, object]:
        """The first line of its log about that."""
        give_up_at = time.monotonic() + most_seconds
        while time.monotonic() < give_up_at:
            for line in self.log.read_text(encoding="utf-8").splitlines():
                if f'"event": "{event}"' in line or f'"event":"{event}"' in line:
                    found: dict[str, object] = json.loads(line)
                    return found
            if self.process.poll() is not None:
                break
            await asyncio.sleep(LOOK_SECONDS)
        raise RuntimeError(f"it did not say {event}:\n{self.log.read_text(encoding='utf-8')[-4000:]}")

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        """What it holds in memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@dataclass
class Found:
    """All figures of one run. Times are seconds."""

    launch: float = 0.0
    launch_cores: float = 0.0
    writes: int = 0
    later_writes: int = 0
    asked_launching: dict[str, int] = field(default_factory=dict)
    rest_cores: float = 0.0
    rest_bytes: int = 0
    asked_at_rest: dict[str, int] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)
    seen_cores: float = 0.0
    restart: float = 0.0
    restart_work: float = 0.0
    touched: int = 0
    most_bytes: int = 0


@dataclass
class Stage:
    """Everything that is measured on."""

    database: Database
    service: EnvironmentService
    cluster: Simulated
    controller: Process

    async def launch_all(self, actors: tuple[Actor, ...]) -> None:
        """Everybody clicks on Launch."""
        waiting = iter(actors)

        async def ask() -> None:
            for actor in waiting:
                await self.service.launch(actor, LaunchOrder(APPLICATION, "survey", "small", UPTIME_SECONDS))

        await asyncio.gather(*(ask() for _ in range(LAUNCHES_AT_ONCE)))

    async def count(self, phase: Phase) -> int:
        """How many are in it."""
        async with self.database.reading() as work:
            asked = select(func.count()).select_from(Environment).where(col(Environment.phase) == phase.value)
            return int((await work._session.exec(asked)).one())

    async def all_run(self) -> bool:
        """Whether everything that was launched runs."""
        if await self.count(Phase.FAILED):
            raise RuntimeError(f"some failed:\n{self.controller.log.read_text(encoding='utf-8')[-4000:]}")
        return await self.count(Phase.RUNNING) == ENVIRONMENTS

    async def names(self) -> dict[UUID, str]:
        """Ids of what runs, and its pods."""
        async with self.database.reading() as work:
            asked = select(Environment.id, Environment.slug).where(col(Environment.phase) == Phase.RUNNING.value)
            return {identity: pod_name(slug) for identity, slug in (await work._session.exec(asked)).all()}

    async def rows(self, wanted: set[UUID]) -> list[Environment]:
        """The rows of ``wanted`` as they are."""
        async with self.database.reading() as work:
            return list((await work._session.exec(select(Environment).where(col(Environment.id).in_(wanted)))).all())

    async def failed(self, wanted: set[UUID]) -> set[UUID]:
        """Those of ``wanted`` that are known to have failed."""
        async with self.database.reading() as work:
            asked = select(Environment.id).where(
                col(Environment.id).in_(wanted), col(Environment.phase) == Phase.FAILED.value
            )
            return set((await work._session.exec(asked)).all())


async def _launched(stage: Stage, actors: tuple[Actor, ...], found: Found) -> None:
    since, before, began = time.time(), stage.controller.cpu_seconds(), time.perf_counter()
    asking = asyncio.create_task(stage.launch_all(actors))
    await until(stage.all_run, pause_seconds=0.5, most_seconds=LAUNCH_SECONDS)
    await asking
    found.launch = time.perf_counter() - began
    found.launch_cores = (stage.controller.cpu_seconds() - before) / found.launch
    asked = stage.cluster.asked(since)
    found.asked_launching = _named(asked)
    found.writes = _writes(asked)


async def _rested(stage: Stage, found: Found) -> None:
    since, before = time.time(), stage.controller.cpu_seconds()
    await asyncio.sleep(REST_SECONDS)
    found.rest_cores = (stage.controller.cpu_seconds() - before) / REST_SECONDS
    found.rest_bytes = stage.controller.memory_bytes()
    found.asked_at_rest = _named(stage.cluster.asked(since))


async def _changed(stage: Stage, chance: random.Random, found: Found) -> None:
    """Pods are taken away one after the other by somebody else."""
    names = await stage.names()
    chosen = chance.sample(sorted(names), TAKEN_AWAY)
    taken_at: dict[UUID, float] = {}
    before, began = stage.controller.cpu_seconds(), time.perf_counter()

    async def take() -> None:
        for identity in chosen:
            taken_at[identity] = time.perf_counter()
            await stage.cluster.delete_pod(names[identity])
            await asyncio.sleep(TAKEN_EACH_SECONDS)

    taking = asyncio.create_task(take())
    missing = set(chosen)
    give_up_at = time.perf_counter() + 120
    while missing and time.perf_counter() < give_up_at:
        seen = await stage.failed(missing)
        now = time.perf_counter()
        found.seen += [now - taken_at[each] for each in seen]
        missing -= seen
        await asyncio.sleep(LOOK_SECONDS)
    await taking
    if missing:
        raise RuntimeError(f"{len(missing)} pods that went away were not missed")
    found.seen_cores = (stage.controller.cpu_seconds() - before) / (time.perf_counter() - began)


async def _started_again(stage: Stage, actors: tuple[Actor, ...], chance: random.Random, found: Found) -> None:
    """Some are stopped, and started again by the same people."""
    chosen = set(chance.sample(sorted(await stage.names()), STARTED_AGAIN))
    owners = {actor.user_id: actor for actor in actors}
    rows = [(owners[each.owner_id], each.id) for each in await stage.rows(chosen)]
    for actor, identity in rows:
        await stage.service.stop(actor, identity)

    async def all_are(phase: Phase) -> bool:
        return {each.phase for each in await stage.rows(chosen)} == {phase.value}

    await until(partial(all_are, Phase.STOPPED), pause_seconds=0.2, most_seconds=LAUNCH_SECONDS)
    pods = {pod_name(each.slug) for each in await stage.rows(chosen)}

    async def all_are_gone() -> bool:
        return not pods & set(await stage.cluster.versions())

    await until(all_are_gone, pause_seconds=0.2, most_seconds=LAUNCH_SECONDS)
    since = time.time()
    for actor, identity in rows:
        await stage.service.start(actor, identity)
    await until(partial(all_are, Phase.RUNNING), pause_seconds=0.2, most_seconds=LAUNCH_SECONDS)
    found.later_writes = _writes(stage.cluster.asked(since))


async def _restarted(stage: Stage, chance: random.Random, found: Found) -> None:
    """It ends, some pods go away meanwhile, and it comes back."""
    names = await stage.names()
    await asyncio.to_thread(end, stage.controller.process)
    chosen = chance.sample(sorted(names), TAKEN_WHILE_AWAY)
    for identity in chosen:
        await stage.cluster.delete_pod(names[identity])
    before = await stage.cluster.versions()
    began = stage.controller.start()
    said = await stage.controller.until_said("in_step")
    found.restart = time.perf_counter() - began
    found.restart_work = float(str(said["after_seconds"]))
    if await stage.failed(set(chosen)) != set(chosen):
        raise RuntimeError("it says that it is in step and is not")
    found.touched = len(set(before.items()) ^ set((await stage.cluster.versions()).items()))


def _writes(asked: dict[tuple[str, str], int]) -> int:
    return sum(count for (verb, _), count in asked.items() if verb in ("create", "update", "patch", "delete"))


def _named(asked: dict[tuple[str, str], int]) -> dict[str, int]:
    return {f"{verb} {kind}": count for (verb, kind), count in sorted(asked.items())}


@contextmanager
def _redis(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def _stage(folder: Path, made: Databases, redis: RedisServer) -> AsyncIterator[tuple[Stage, tuple[Actor, ...]]]:
    url = await made.make()
    keys = folder / "keys.json"
    Keyring.of_file(keys)
    settings = Settings(data_dir=folder, database_url=url, redis_url=redis.url, _env_file=None)
    database = Database(sqlalchemy_address(url))
    actors = await people(database, ENVIRONMENTS, Tier.PREMIUM)
    async with simulated(folder, ENVIRONMENTS + 1, VOLUME_BYTES) as cluster, open_bus(settings) as bus:
        surroundings = {name: value for name, value in os.environ.items() if not name.upper().startswith("CMB_")}
        surroundings |= {
            "CMB_DATABASE_URL": url,
            "CMB_REDIS_URL": redis.url,
            "CMB_RUNTIME": "kubernetes",
            "CMB_KUBERNETES_NAMESPACE": cluster.namespace,
            "CMB_KUBERNETES_STORAGE_CLASS": CLASS,
            "CMB_KUBERNETES_PACKAGES_CLASS": CLASS,
            "CMB_WORKSPACE_IMAGE": "localhost/nothing:1",
            "CMB_DATA_DIR": str(folder / "controller"),
            "CMB_TOKEN_KEYS_FILE": str(keys),
            "CMB_HEALTH_BIND": f"127.0.0.1:{free_port()}",
            "CMB_LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
        }
        controller = Process(folder, surroundings)
        service = EnvironmentService(database, bus, settings, RateService(settings), ImageRules(True, ()))
        controller.start()
        try:
            await controller.until_said("ready")
            yield Stage(database, service, cluster, controller), actors
        finally:
            end(controller.process)
            await database.close()


async def _all(folder: Path, made: Databases) -> Found:
    folder.mkdir(parents=True, exist_ok=True)
    found, chance = Found(), random.Random(7)  # noqa: S311
    with _redis(folder) as redis:
        async with _stage(folder, made, redis) as (stage, actors):
            await _launched(stage, actors, found)
            _say(f"all run after {found.launch:.0f} s, {found.launch_cores:.2f} cores, asked {found.asked_launching}")
            await _rested(stage, found)
            _say(f"at rest {found.rest_cores:.3f} cores, {found.rest_bytes / 1e6:.0f} MB, asked {found.asked_at_rest}")
            await _changed(stage, chance, found)
            _say(f"seen after {median(found.seen):.3f} s, p99 {quantile(found.seen, 0.99):.3f} s")
            found.most_bytes = max(found.rest_bytes, stage.controller.memory_bytes())
            await _started_again(stage, actors, chance, found)
            _say(f"{found.later_writes} writes for {STARTED_AGAIN} later starts")
            await _restarted(stage, chance, found)
            _say(f"in step after {found.restart:.1f} s, of it work {found.restart_work:.1f} s; touched {found.touched}")
            found.most_bytes = max(found.most_bytes, stage.controller.memory_bytes())
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure() -> Section:
    with data_folder() as data, databases() as made:
        found = asyncio.run(_all(data, made))
    return _section(found)


def _section(found: Found) -> Section:
    each, later = found.writes / ENVIRONMENTS, found.later_writes / STARTED_AGAIN
    asked = ", ".join(f"{count} {what}" for what, count in found.asked_at_rest.items()) or "nothing"
    rows = (
        Row("processor of the controller at rest", f"{found.rest_cores:.3f} cores", f"over {REST_SECONDS:.0f} s",
            f"≤ {GOAL_CORES:.0f} core", found.rest_cores <= GOAL_CORES),
        Row("its memory", f"{found.most_bytes / 1e6:.0f} MB", "most of what was read after each part",
            f"≤ {GOAL_BYTES / 1e6:.0f} MB", found.most_bytes <= GOAL_BYTES),
        Row("what it asks the API server for at rest", asked, f"in {REST_SECONDS:.0f} s, by the audit log"),
        Row("a pod that goes away is seen after", millis(quantile(found.seen, 0.99)),
            f"p99 of {TAKEN_AWAY}, median {millis(median(found.seen))}",
            f"≤ {millis(GOAL_SEEN_SECONDS)}", quantile(found.seen, 0.99) <= GOAL_SEEN_SECONDS),
        Row("processor meanwhile", f"{found.seen_cores:.2f} cores", f"one every {millis(TAKEN_EACH_SECONDS)}",
            f"≤ {GOAL_CORES:.0f} core", found.seen_cores <= GOAL_CORES),
        Row("restart to in step", f"{found.restart:.1f} s", f"of it {found.restart_work:.1f} s looking",
            f"≤ {GOAL_RESTART_SECONDS:.0f} s", found.restart <= GOAL_RESTART_SECONDS),
        Row("pods touched by the restart", f"{found.touched}", "by uid and version", "0", found.touched == 0),
        Row(f"{ENVIRONMENTS:,} launches at once until all run", f"{found.launch:.0f} s",
            f"{found.launch_cores:.2f} cores of the controller"),
        Row("writes to the API server for a first launch", f"{each:.2f}", "by the audit log", "≤ 3", each <= 3),
        Row("writes for a later start", f"{later:.2f}", f"{STARTED_AGAIN} stopped and begun again", "≤ 2", later <= 2),
    )  # fmt: skip
    return Section(
        "scale",
        f"{ENVIRONMENTS:,} environments on a cluster",
        rows,
        (
            "One controller as a process of its own over PostgreSQL and Redis; API server, etcd, scheduler and "
            "database are on the same cores. Pods are of a node that only pretends to run them (kwok), volumes are "
            "made beforehand. In the middle part somebody else deletes pods; seen means that the row says so, read "
            f"every {millis(LOOK_SECONDS)}. During the restart {TAKEN_WHILE_AWAY} pods go away, and in step means that "
            "it has looked at everything and those are known.",
        ),
    )


def main() -> None:
    """Measure and publish; leave the figures as they were where there is no cluster."""
    if not os.environ.get("KUBECONFIG") or not os.environ.get("CMB_TEST_KUBELET_PID"):
        sys.exit("needs a cluster: docs/kubernetes.md says how the test cluster is started")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet_logs()
    publish(_measure())


if __name__ == "__main__":
    main()
