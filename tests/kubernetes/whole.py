"""Services, controller and runtime over the test cluster, on an API server of the test's choice.

Environments are small, serve the folder they are in, and install no packages, so that many of
them start within seconds. A second one over the same folder is the platform after a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubernetes.aio.client.configuration import Configuration

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.controller.controller import Controller
from cmbcluster.db.database import Database
from cmbcluster.db.models import Environment
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.kubernetes.watching import Rhythm
from cmbcluster.runtime.port import Ref, Spec
from cmbcluster.wiring import Parts, build_parts
from tests.fakes.images import FakeImages
from tests.fakes.resolver import FakeResolver
from tests.faults.replicas import APPLICATION, application, order
from tests.kubernetes.cluster import PYTHON, settings_for, until_true
from tests.platform import KEYRING, SEALER
from tests.runtime.place import MIB

QUICK = Rhythm(server_seconds=60, silence_seconds=3, first_pause_seconds=0.05, longest_pause_seconds=0.5)
SERVES = ["python", "-u", "-m", "http.server", "{port}", "--bind", "{address}"]
# Pods of others are on the same node, and so are the tests.
START_SECONDS = 120.0
# Of the processor a quarter is asked for, and others fill the node as well.
CPU_MILLIS = 80


class SmallRuntime(KubernetesRuntime):
    """Asks for little, whatever size people chose, and for what ``adjust`` says."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.adjust: Callable[[Spec], Spec] = lambda spec: spec

    async def start(self, spec: Spec) -> None:
        await super().start(self.adjust(replace(spec, cpu_millis=CPU_MILLIS, memory_bytes=64 * MIB)))


class NoPackages(FakeResolver):
    """Every source needs nothing."""

    async def _resolve(self, source: PythonSource) -> Lock:
        return Lock("", source.python, 0)


@dataclass
class Whole:
    """One process of the platform."""

    parts: Parts
    runtime: SmallRuntime

    async def row(self, view: EnvironmentView) -> Environment:
        async with self.parts.database.reading() as work:
            row = await work.environments.by_id(view.id)
        assert row is not None
        return row

    async def ref(self, view: EnvironmentView) -> Ref:
        row = await self.row(view)
        return Ref(row.id, row.slug, row.run)

    async def reach(self, actor: Actor, view: EnvironmentView, *phases: Phase) -> EnvironmentView:
        """Wait until people read one of these phases."""

        async def reached() -> EnvironmentView | None:
            now = await self.parts.environments.get(actor, view.id)
            return now if now.phase in phases else None

        found: EnvironmentView = await until_true(reached, START_SECONDS)
        return found

    async def running(self, actor: Actor, name: str) -> EnvironmentView:
        """A new environment that runs."""
        asked = await self.parts.environments.launch(actor, order(name))
        found = await self.reach(actor, asked, Phase.RUNNING, Phase.FAILED)
        assert found.phase is Phase.RUNNING, found.reason
        return found


def through(address: str) -> Callable[[], Awaitable[Cluster]]:
    """A way to the API server at an address of ours."""

    async def connect() -> Cluster:
        return Cluster(Configuration(host=address))

    return connect


@asynccontextmanager
async def whole(
    namespace: str,
    folder: Path,
    *,
    connect: Callable[[], Awaitable[Cluster]] | None = None,
    orphan_grace_seconds: float = 600.0,
    **changes: object,
) -> AsyncIterator[Whole]:
    """A platform whose controller works; what runs goes on when it is left."""
    given: dict[str, object] = {"data_dir": folder, "sweep_seconds": 1.0, "kubernetes_stop_grace_seconds": 1}
    settings = settings_for(namespace, **(given | changes))
    database = Database(settings.sqlalchemy_url)
    await database.migrate()
    runtime = SmallRuntime(settings, connect=connect, rhythm=QUICK)
    await runtime.open()
    parts = build_parts(settings, database, MemoryBus(), runtime, runtime, NoPackages(), KEYRING, FakeImages(), SEALER)
    async with database.transaction() as work:
        if await work.applications.by_id(APPLICATION) is None:
            made = application()
            made.source = {"requirements": [], "python": PYTHON}
            made.program = {**(made.program or {}), "command": SERVES}
            work.applications.add(made)
    controller = Controller(parts, orphan_grace_seconds=orphan_grace_seconds)
    await controller.open()
    try:
        yield Whole(parts, runtime)
    finally:
        await controller.close()
        await runtime.close()
        await parts.identity.close()
        await database.close()
