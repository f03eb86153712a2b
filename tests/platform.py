"""A platform for tests: real database, services and controller; fake runtime and resolver.

``settle`` works the queue by hand in the test's own task, so that a test says exactly how
far the controller got. Time is the test's: ``advance`` moves the database's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.controller.checkpoints import Probe, reach_nothing
from cmbcluster.controller.contents import Contents
from cmbcluster.controller.placements import read_placements
from cmbcluster.controller.reconciler import Reconciler
from cmbcluster.controller.recorder import Recorder
from cmbcluster.controller.resolutions import Resolutions
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.crypto.sealed import Sealer
from cmbcluster.db.database import Database
from cmbcluster.db.models import Application
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.settings import Settings
from cmbcluster.wiring import Parts, build_parts
from tests.fakes.images import FakeImages
from tests.fakes.resolver import FakeResolver
from tests.fakes.runtime import FakeRuntime

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KEYRING = Keyring((("test", b"k" * 32),))
SEALER = Sealer((("test", b"s" * 32),))


@dataclass
class Clock:
    """The database's and the fake runtime's clock."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Platform:
    """Handles of one test's platform."""

    parts: Parts
    runtime: FakeRuntime
    resolver: FakeResolver
    images: FakeImages
    clock: Clock
    bus: MemoryBus
    woken: set[UUID] = field(default_factory=set)
    _resolutions: Resolutions | None = None
    _reconciler: Reconciler | None = None

    def controller(self, reach: Probe = reach_nothing) -> Reconciler:
        """A controller that begins now, as after a restart: it knows nothing."""
        recorder = Recorder(self.parts.database, self.bus)
        self._resolutions = Resolutions(self.woken.add)
        settings = self.parts.settings
        placements = read_placements(settings.kubernetes_placement_file, settings.kubernetes_offline_tiers)
        contents = Contents(recorder, self.resolver, self.images, self.parts.registries, placements)
        self._reconciler = Reconciler(recorder, self.runtime, self.runtime, self._resolutions, contents, reach)
        return self._reconciler

    async def forget_controller(self) -> None:
        """Lose the controller with all it had in memory, as ``kill -9`` does."""
        if self._resolutions is not None:
            await self._resolutions.close()
        self._resolutions = self._reconciler = None

    async def settle(self, reach: Probe = reach_nothing, *, most_steps: int = 60) -> None:
        """Look at every unsettled environment until a round changes nothing."""
        reconciler = self._reconciler or self.controller(reach)
        before: object = None
        for _ in range(most_steps):
            async with self.parts.database.reading() as work:
                unsettled = {row.id for row in await work.environments.unsettled()}
                rows = [await work.environments.by_id(each) for each in sorted(unsettled)]
            now = [(row.id, row.phase, row.generation, row.lock_digest, row.image) for row in rows if row is not None]
            if now == before and not self.woken:
                return
            before = now
            for environment_id in unsettled | self.woken:
                self.woken.discard(environment_id)
                await reconciler.reconcile(environment_id)
            for _ in range(3):
                await asyncio.sleep(0)
        raise AssertionError("the controller does not come to rest")

    async def turn(self) -> None:
        """Let tasks that are ready go on."""
        for _ in range(5):
            await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.at += timedelta(seconds=seconds)
        self.runtime.tick()

    async def sign_in(self, person: str) -> Actor:
        """The actor of a test person with a session of their own."""
        identity = DevelopmentIdentity().sign_in(person)
        token = await self.parts.sessions.sign_in(identity, browser="pytest", address="127.0.0.1")
        actor = await self.parts.sessions.find(token)
        assert actor is not None
        return replace(actor, operation_id=f"op-{person}")

    async def launch(self, actor: Actor, name: str = "planck", *, uptime_seconds: int = 3600) -> EnvironmentView:
        """Ask for an environment of the tests' application."""
        order = LaunchOrder("tiny", name, "small", uptime_seconds)
        return await self.parts.environments.launch(actor, order)

    async def running(self, actor: Actor, name: str = "planck", *, uptime_seconds: int = 3600) -> EnvironmentView:
        """An environment that runs."""
        view = await self.launch(actor, name, uptime_seconds=uptime_seconds)
        await self.settle()
        return await self.parts.environments.get(actor, view.id)


@asynccontextmanager
async def open_platform(folder: Path, **more: object) -> AsyncIterator[Platform]:
    """A platform with two applications: ``tiny`` (catalogue) and ``custom`` (a form).

    ``more`` are settings that differ from the tests' usual ones, such as ``database_url``.
    """
    clock = Clock()
    settings = Settings(data_dir=folder, session_cache_seconds=0, _env_file=None, **more)  # type: ignore[arg-type]
    database = Database(settings.sqlalchemy_url, clock, wait_seconds=settings.database_wait_seconds)
    await database.migrate()
    bus, runtime, resolver = MemoryBus(), FakeRuntime(now=clock), FakeResolver()
    images = FakeImages()
    parts = build_parts(settings, database, bus, runtime, runtime, resolver, KEYRING, images, SEALER)
    async with database.transaction() as work:
        work.applications.add(_application("tiny", {"requirements": ["tiny"], "python": "3.11"}))
        work.applications.add(_application("custom", None))
    platform = Platform(parts, runtime, resolver, images, clock, bus)
    try:
        yield platform
    finally:
        await platform.forget_controller()
        await parts.identity.close()
        await database.close()


def _application(name: str, source: dict[str, object] | None) -> Application:
    program = {
        "command": ["python", "-m", "tiny", "{port}"],
        "port": 8501,
        "health_path": "/",
        "ready_within_seconds": 60,
        "environment": {},
    }
    return Application(
        id=name,
        name=name.capitalize(),
        category="Tests",
        summary="For tests.",
        icon="custom",
        position=1,
        size="small",
        needs_keys=[],
        source=source,
        program=program if source else None,
        seed_digest="x",
    )
