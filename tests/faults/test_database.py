"""F10: connections killed, the server crashed and started again, connections cut during COMMIT."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from cmbcluster.db.failures import CommitUnknown
from cmbcluster.domain.actors import Actor
from cmbcluster.errors import DatabaseUnavailable
from cmbcluster.wiring import Parts
from tests.fakes.runtime import FakeRuntime
from tests.faults.cutting import cutting
from tests.faults.replicas import Shared, order, people
from tests.postgres import MISSING, Databases, OwnServer, own_server, programs

WRITERS = 8
LAUNCHES_EACH = 6
RECOVERED_SECONDS = 10.0


@pytest.fixture(scope="module")
def crashing() -> Iterator[OwnServer]:
    """A server that may be crashed: always one of ours."""
    if programs() is None:
        if os.environ.get("CMB_REQUIRE_ALL"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with own_server() as server:
        yield server


@pytest.fixture
async def crashing_url(crashing: OwnServer) -> AsyncIterator[str]:
    """A migrated database on it."""
    databases = Databases(crashing.url)
    url = await databases.make()
    yield url
    await databases.drop(url)


@dataclass
class Ledger:
    """What writers were told: by person, the environment they were told of, or None for an unknown answer."""

    told: dict[UUID, UUID | None] = field(default_factory=dict)

    async def launch(self, parts: Parts, actor: Actor) -> bool:
        """Ask once; says whether there was an answer."""
        try:
            view = await parts.environments.launch(actor, order("once"), key=f"key-{actor.user_id}")
        except DatabaseUnavailable:
            self.told.setdefault(actor.person(), None)
            return False
        known = self.told.get(actor.person())
        assert known in (None, view.id), "two answers for one key"
        self.told[actor.person()] = view.id
        return True

    async def check(self, parts: Parts, actors: tuple[Actor, ...]) -> None:
        """Every ok is there; every unknown, asked again with its key, is one environment."""

        async def one(actor: Actor) -> None:
            while not await self.launch(parts, actor):
                await asyncio.sleep(0.5)
            page = await parts.environments.page(actor)
            assert [view.id for view in page.rows] == [self.told[actor.person()]]
            assert [entry.kind for entry in (await parts.activity.page(actor)).rows] == ["launched"]

        for begin in range(0, len(actors), WRITERS):
            await asyncio.gather(*(one(actor) for actor in actors[begin : begin + WRITERS]))


async def _write(parts: Parts, ledger: Ledger, actors: tuple[Actor, ...]) -> None:
    async def one(mine: tuple[Actor, ...]) -> None:
        for actor in mine:
            await ledger.launch(parts, actor)
            await asyncio.sleep(0.02)

    await asyncio.gather(*(one(actors[number::WRITERS]) for number in range(WRITERS)))


async def _kill_backends(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


async def test_f10_connections_that_are_killed(url: str, tmp_path: Path, chance: random.Random) -> None:
    async with Shared(url, tmp_path, FakeRuntime()).replica() as parts:
        actors, ledger = await people(parts.database, WRITERS * LAUNCHES_EACH), Ledger()
        writing = asyncio.create_task(_write(parts, ledger, actors))
        while not writing.done():
            await asyncio.sleep(0.05 + chance.random() * 0.2)
            await _kill_backends(url)
        await writing
        await ledger.check(parts, actors)


async def test_f10_a_server_that_crashes_and_comes_back(
    crashing: OwnServer, crashing_url: str, tmp_path: Path, chance: random.Random
) -> None:
    async with Shared(crashing_url, tmp_path, FakeRuntime()).replica(database_wait_seconds=2.0) as parts:
        actors, ledger = await people(parts.database, WRITERS * LAUNCHES_EACH), Ledger()
        writing = asyncio.create_task(_write(parts, ledger, actors[:-1]))
        await asyncio.sleep(0.1 + chance.random() * 0.3)
        await asyncio.to_thread(crashing.stop)
        began = time.monotonic()
        assert not await ledger.launch(parts, actors[-1])
        assert time.monotonic() - began < RECOVERED_SECONDS
        await asyncio.to_thread(crashing.start)
        back = time.monotonic()
        while not await ledger.launch(parts, actors[-1]):
            assert time.monotonic() - back < RECOVERED_SECONDS, "the pool did not recover"
            await asyncio.sleep(0.1)
        await writing
        await ledger.check(parts, actors)


@pytest.mark.parametrize("side", ["before", "after"])
async def test_f10_a_connection_that_is_cut_during_commit(
    url: str, tmp_path: Path, chance: random.Random, side: str
) -> None:
    async with (
        cutting(url) as (proxy, through),
        Shared(through, tmp_path, FakeRuntime()).replica() as parts,
    ):
        actors, ledger = await people(parts.database, WRITERS * 4), Ledger()
        # One alone first: with its key the service itself finds out what can be known.
        proxy.cut_next(side)
        assert await ledger.launch(parts, actors[0]) is (side == "after")
        proxy.cut_next(side)
        with pytest.raises(CommitUnknown):
            async with parts.database.transaction() as work:
                await work.users.lock(actors[0].person())
        writing = asyncio.create_task(_write(parts, ledger, actors))
        while not writing.done():
            proxy.cut_next(side)
            await asyncio.sleep(0.05 + chance.random() * 0.1)
        await writing
        proxy.calm()
        assert proxy.cut > 2
        await ledger.check(parts, actors)
