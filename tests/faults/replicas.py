"""Replicas of the platform over one database: real services and controllers, one runtime in memory for all."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Bus
from cmbcluster.db.database import Database
from cmbcluster.db.models import Application, User
from cmbcluster.domain.actors import Actor, ActorKind, Tier
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.runtime.port import Observation, Ref, Spec
from cmbcluster.settings import Settings
from cmbcluster.wiring import Parts, build_parts
from tests.fakes.images import FakeImages
from tests.fakes.resolver import FakeResolver
from tests.fakes.runtime import FakeRuntime
from tests.platform import KEYRING, SEALER

APPLICATION = "tiny"


def seeded() -> random.Random:
    """Chance that can be had again: the seed is printed, and taken from CMB_TEST_SEED when it is set."""
    seed = int(os.environ.get("CMB_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed {seed}")
    return random.Random(seed)  # noqa: S311


@dataclass
class SlowRuntime(FakeRuntime):
    """The fake runtime with a wait before and after each call, so that others get between."""

    chance: random.Random = field(default_factory=random.Random)

    async def start(self, spec: Spec) -> None:
        await self._wait()
        await super().start(spec)
        await self._wait()

    async def stop(self, ref: Ref) -> None:
        await self._wait()
        await super().stop(ref)
        await self._wait()

    async def look(self, ref: Ref) -> Observation:
        await self._wait()
        seen = await super().look(ref)
        await self._wait()
        return seen

    async def _wait(self) -> None:
        await asyncio.sleep(self.chance.random() * 0.02)


@dataclass
class Shared:
    """What all replicas of one test have in common."""

    url: str
    folder: Path
    runtime: FakeRuntime
    clock: Callable[[], datetime] | None = None
    bus: Bus = field(default_factory=MemoryBus)
    resolver: FakeResolver = field(default_factory=FakeResolver)

    @asynccontextmanager
    async def replica(self, **more: Any) -> AsyncIterator[Parts]:
        """One process of the platform, with a pool of its own; ``more`` are settings."""
        settings = Settings(
            data_dir=self.folder, database_url=self.url, session_cache_seconds=0, _env_file=None, **more
        )
        database = Database(
            settings.sqlalchemy_url,
            self.clock,
            connections_at_once=settings.database_connections_at_once,
            wait_seconds=settings.database_wait_seconds,
        )
        parts = build_parts(
            settings, database, self.bus, self.runtime, self.runtime, self.resolver, KEYRING, FakeImages(), SEALER
        )
        try:
            await database.migrate()
            yield parts
        finally:
            await parts.identity.close()
            await database.close()


async def people(database: Database, count: int, tier: Tier = Tier.FREE) -> tuple[Actor, ...]:
    """New people, and an application that they may launch."""
    now = datetime.now(UTC)
    rows = [
        User(
            provider="test", subject=f"p{number}", email=f"p{number}@example.org", name=f"Person {number}",
            role="user", tier=tier.value, created_at=now,
        )
        for number in range(count)
    ]  # fmt: skip
    async with database.transaction() as work:
        if await work.applications.by_id(APPLICATION) is None:
            work.applications.add(application())
        for row in rows:
            work.users.add(row)
    return tuple(Actor(kind=ActorKind.PERSON, user_id=row.id, name=row.name, tier=tier) for row in rows)


def order(name: str) -> LaunchOrder:
    """A click on Launch."""
    return LaunchOrder(APPLICATION, name, "small", 3600)


async def activity_of(database: Database, actor: Actor, environment_id: UUID) -> list[str]:
    """The kinds of everything that is in somebody's log about an environment, the oldest first."""
    async with database.reading() as work:
        rows = await work.activity.before(actor.person(), None, 500, environment_id=environment_id)
    return [row.kind for row in reversed(rows)]


def application() -> Application:
    """The application of these tests."""
    program = {
        "command": ["python", "-m", "tiny", "{port}"],
        "port": 8501,
        "health_path": "/",
        "ready_within_seconds": 60,
        "environment": {},
    }
    return Application(
        id=APPLICATION,
        name="Tiny",
        category="Tests",
        summary="For tests.",
        icon="custom",
        position=1,
        size="small",
        needs_keys=[],
        source={"requirements": ["tiny"], "python": "3.11"},
        program=program,
        seed_digest="x",
    )
