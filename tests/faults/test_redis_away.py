"""Redis is emptied, restarted and stopped while environments start and stop on the cluster (F12).

What only rings would tell is found by the sweep, so nothing is lost and nothing waits for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
import redis

from cmbcluster.settings import Settings
from cmbcluster.wiring import open_bus
from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import Person, days, persons, scene
from tests.faults.controllers import Crew
from tests.faults.ledger import read
from tests.faults.lengths import lasting
from tests.faults.replicas import Shared
from tests.servers.redis import RedisServer, redis_server  # noqa: F401 - a fixture

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
PEOPLE = 4
SECONDS = lasting(14, full=120)
# Longer than people wait for a ring, shorter than they wait for an environment.
SWEEP_SECONDS = 3.0


async def test_f12_redis_emptied_restarted_and_stopped_on_the_cluster(
    tmp_path: Path,
    url: str,
    own_namespace: str,
    redis_server: RedisServer,  # noqa: F811
    chance: random.Random,
) -> None:
    more = {"CMB_REDIS_URL": redis_server.url, "CMB_SWEEP_SECONDS": str(SWEEP_SECONDS)}
    crew = Crew(tmp_path, url, own_namespace, settings=more)
    async with (
        scene(crew) as played,
        open_bus(Settings(redis_url=redis_server.url, _env_file=None)) as bus,
        Shared(url, tmp_path / "web", FakeRuntime(), bus=bus).replica() as parts,
        crew.manned(),
    ):
        *everybody, last = await persons(parts, played.ledger, *(f"p{number}" for number in range(PEOPLE + 1)))
        asking = asyncio.gather(
            *(days(each, random.Random(chance.random()), SECONDS) for each in everybody)  # noqa: S311
        )
        disturbed = await _disturb(asking, redis_server, chance)
        await asking
        await played.until_quiet()
        await played.until_right()
        ends = Counter(line.event for line in read(played.notes) if line.event != "invoke")
        print(f"{dict(disturbed)}, calls {dict(ends)}")
        assert set(disturbed) == {"emptied", "restarted", "stopped"}
        # Nothing that is asked for needs Redis.
        assert ends["unknown"] == 0
        assert ends["ok"] >= 2 * PEOPLE
        assert crew.killed == 0
        # And with Redis away for good.
        redis_server.kill()
        assert await last.ask("launch")
        await played.until_quiet()
        await played.until_right()


async def _disturb(
    asking: asyncio.Future[list[list[Person]]],
    server: RedisServer,
    chance: random.Random,
) -> Counter[str]:
    """One fault after the other as long as people ask; how often there was which."""
    done: Counter[str] = Counter()
    while not asking.done():
        await asyncio.sleep(chance.uniform(0.5, 1.5))
        with redis.Redis(port=server.port) as connection:
            await asyncio.to_thread(connection.flushall)
        done["emptied"] += 1
        for what, seconds in (("restarted", 0.0), ("stopped", chance.uniform(2, 4))):
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            server.kill()
            await asyncio.sleep(seconds)
            await asyncio.to_thread(server.start)
            done[what] += 1
    return done
