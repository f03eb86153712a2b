"""F23: many launches at the edge of a quota, through two replicas, on both databases."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

from cmbcluster.domain.actors import Tier
from cmbcluster.domain.tiers import LIMITS
from cmbcluster.errors import QuotaExceeded
from cmbcluster.wiring import Parts
from tests.fakes.runtime import FakeRuntime
from tests.faults.replicas import Shared, order, people

LAUNCHES = 50
THERE_ALREADY = 2


async def test_f23_never_over_the_quota(database_url: str, tmp_path: Path, chance: random.Random) -> None:
    shared = Shared(database_url, tmp_path, FakeRuntime())
    allowed = LIMITS[Tier.PREMIUM].running_at_once - THERE_ALREADY
    async with (
        shared.replica(database_wait_seconds=60) as one,
        shared.replica(database_wait_seconds=60) as other,
    ):
        (ada, ravi) = await people(one.database, 2, Tier.PREMIUM)
        for number in range(THERE_ALREADY):
            await one.environments.launch(ada, order(f"before-{number}"))

        async def launch(number: int) -> str:
            replica: Parts = chance.choice((one, other))
            await asyncio.sleep(chance.random() * 0.05)
            try:
                await replica.environments.launch(ada, order(f"edge-{number}"), key=f"key-{number}")
            except QuotaExceeded:
                return "refused"
            return "ok"

        answers = Counter(await asyncio.gather(*(launch(number) for number in range(LAUNCHES))))
        assert answers == {"ok": allowed, "refused": LAUNCHES - allowed}
        async with one.database.reading() as work:
            running, kept = await work.environments.counts(ada.person())
        assert running == kept == LIMITS[Tier.PREMIUM].running_at_once
        # Somebody else's place is not touched by it.
        await other.environments.launch(ravi, order("mine"))


async def test_f23_one_name_and_one_key_are_one_environment(
    database_url: str, tmp_path: Path, chance: random.Random
) -> None:
    shared = Shared(database_url, tmp_path, FakeRuntime())
    async with (
        shared.replica(database_wait_seconds=60) as one,
        shared.replica(database_wait_seconds=60) as other,
    ):
        (ada,) = await people(one.database, 1, Tier.PREMIUM)
        launches = [
            chance.choice((one, other)).environments.launch(ada, order("same"), key="the-key") for _ in range(20)
        ]
        assert len({view.id for view in await asyncio.gather(*launches)}) == 1
