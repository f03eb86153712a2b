"""PostgreSQL is crashed and cut off in COMMIT while environments start and stop on the cluster (F10)."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import Scene, days, persons, scene
from tests.faults.controllers import Crew
from tests.faults.cutting import CuttingProxy, cutting
from tests.faults.ledger import read
from tests.faults.lengths import lasting
from tests.faults.replicas import Shared
from tests.postgres import MISSING, Databases, OwnServer, own_server, programs

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
PEOPLE = 4
LEAST_CRASHES = 2
SECONDS = lasting(14, full=120)


@pytest.fixture
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


async def test_f10_a_database_that_crashes_and_is_cut_off_on_the_cluster(
    tmp_path: Path, crashing: OwnServer, crashing_url: str, own_namespace: str, chance: random.Random
) -> None:
    async with cutting(crashing_url) as (proxy, through):
        # The test itself looks at the database where nothing is cut.
        crew = Crew(tmp_path, crashing_url, own_namespace, settings={"CMB_DATABASE_URL": through})
        await _play(crew, tmp_path, through, crashing, proxy, chance)


async def _play(
    crew: Crew, folder: Path, through: str, crashing: OwnServer, proxy: CuttingProxy, chance: random.Random
) -> None:
    async with (
        scene(crew) as played,
        Shared(through, folder / "web", FakeRuntime()).replica(database_wait_seconds=2.0) as parts,
        crew.manned(),
    ):
        everybody = await persons(parts, played.ledger, *(f"p{number}" for number in range(PEOPLE)))
        asking = asyncio.gather(
            *(days(each, random.Random(chance.random()), SECONDS) for each in everybody)  # noqa: S311
        )
        crashes = await _disturb(crashing, proxy, chance)
        proxy.calm()
        await asking
        await played.until_quiet()
        await played.until_right()
        _was_disturbed(played, proxy, crashes)
        assert crew.killed == 0


async def _disturb(server: OwnServer, proxy: CuttingProxy, chance: random.Random) -> int:
    """Cut commits on either side all the time, and crash the server now and then; how often that was."""
    crashes, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until or crashes < LEAST_CRASHES:
        for _ in range(8):
            proxy.cut_next(chance.choice(("before", "after")))
            await asyncio.sleep(chance.uniform(0.2, 0.6))
        await asyncio.to_thread(server.stop if crashes % 2 else server.kill)
        await asyncio.sleep(chance.uniform(0.1, 1.0))
        await asyncio.to_thread(server.start)
        crashes += 1
    return crashes


def _was_disturbed(played: Scene, proxy: CuttingProxy, crashes: int) -> None:
    ends = Counter(line.event for line in read(played.notes) if line.event != "invoke")
    print(f"{crashes} crashes, {proxy.cut} commits cut off, calls {dict(ends)}")
    assert crashes >= LEAST_CRASHES
    assert proxy.cut >= SECONDS / 2
    assert ends["ok"] >= 2 * PEOPLE
    assert ends["unknown"] >= 1
