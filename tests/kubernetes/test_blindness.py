"""An API server that tells of the past (F6) or is not there at all, while running and at the start (F7).

What people read is sampled all the time: nothing that runs may ever be called stopped.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from cmbcluster.domain.actors import Actor, Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.kubernetes.names import uid_of
from tests.faults.lengths import lasting
from tests.faults.replicas import activity_of, order, people, seeded
from tests.kubernetes.cluster import Admin, end_all, until_true
from tests.kubernetes.proxy import Faults, proxied
from tests.kubernetes.steady import going_on, reads_work
from tests.kubernetes.whole import through, whole

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
STALE_SECONDS = lasting(20, full=60)
AWAY_SECONDS = lasting(15, full=120)
RECOVERY_SECONDS = 30.0


async def test_f6_lists_and_watches_of_the_past_stop_and_start_nothing(
    namespace: str, admin: Admin, tmp_path: Path
) -> None:
    chance = seeded()
    faults = Faults(chance.randrange(2**32))
    async with proxied(faults) as address, whole(namespace, tmp_path, connect=through(address)) as platform:
        ada, *others = await people(platform.parts.database, 4, Tier.PREMIUM)
        steady = [(ada, await platform.running(ada, name)) for name in ("one", "two")]
        service = platform.parts.environments
        async with going_on(platform, admin, *steady):
            faults.stale = True
            end = time.monotonic() + STALE_SECONDS

            async def storm(actor: Actor) -> EnvironmentView:
                view = await platform.running(actor, "storm")
                while time.monotonic() < end:
                    await service.stop(actor, view.id)
                    await platform.reach(actor, view, Phase.STOPPED)
                    await service.start(actor, view.id)
                    if chance.random() < 0.7:
                        await platform.reach(actor, view, Phase.RUNNING)
                return view

            views = await asyncio.gather(*(storm(each) for each in others))
            faults.stale = False
            for actor, view in zip(others, views, strict=True):
                await platform.reach(actor, view, Phase.RUNNING)
                kinds = await activity_of(platform.parts.database, actor, view.id)
                run = (await platform.ref(view)).generation
                # Each run began once and, the last one excepted, ended once, as it was asked to.
                assert "failed" not in kinds
                assert kinds.count("started") == kinds.count("stopping") == run - 1
                assert kinds.count("stopped") + kinds.count("cancelled") == run - 1
            runs = [(await platform.ref(view)).generation for view in views]
            print(f"{faults.told_old} answers of the past, runs {runs}")
            assert faults.told_old > 20
            assert min(runs) > 1
            running = {f"env-{view.slug}" for view in (*views, *(view for _, view in steady))}
            known = platform.runtime._pods
            assert known is not None
            await until_true(lambda: set(known.known) == running)
            assert await admin.names("pods") == running
        await end_all(platform.runtime, admin, *[await platform.ref(v) for v in (*views, *(v for _, v in steady))])


async def test_f7_an_api_server_that_is_not_there_stops_nothing(namespace: str, admin: Admin, tmp_path: Path) -> None:
    faults = Faults(0)
    async with proxied(faults) as address, whole(namespace, tmp_path, connect=through(address)) as platform:
        (ada,) = await people(platform.parts.database, 1, Tier.PREMIUM)
        mine = [(ada, await platform.running(ada, name)) for name in ("one", "two")]
        async with going_on(platform, admin, *mine) as phases:
            for kind in ("refuses", "hangs"):
                faults.away = kind
                asked = await platform.parts.environments.launch(ada, order(kind))
                end = time.monotonic() + AWAY_SECONDS
                while time.monotonic() < end:
                    await reads_work(platform, ada, asked, *(view for _, view in mine))
                    await asyncio.sleep(1)
                assert (await platform.parts.environments.get(ada, asked.id)).phase is not Phase.FAILED
                faults.away = ""
                since = time.monotonic()
                for view in (asked, *(view for _, view in mine)):
                    await platform.reach(ada, view, Phase.RUNNING)
                took = time.monotonic() - since
                print(f"{kind}: all runs {took:.1f} s after it was there again, seen {sorted(phases)}")
                assert took <= RECOVERY_SECONDS
                await end_all(platform.runtime, admin, await platform.ref(asked))
            assert Phase.UNKNOWN in phases, "nobody noticed"
        await end_all(platform.runtime, admin, *[await platform.ref(view) for _, view in mine])


async def test_f7_a_platform_that_starts_while_the_api_server_is_not_there(
    namespace: str, admin: Admin, tmp_path: Path
) -> None:
    faults = Faults(0)
    async with proxied(faults) as address:
        async with whole(namespace, tmp_path, connect=through(address)) as platform:
            (ada,) = await people(platform.parts.database, 1, Tier.PREMIUM)
            view = await platform.running(ada, "one")
        faults.away = "refuses"
        async with whole(namespace, tmp_path, connect=through(address)) as platform:
            pod = await admin.pod(view.slug)
            async with going_on(platform, admin, (ada, view)):
                begun = time.monotonic()
                while (since := time.monotonic() - begun) < AWAY_SECONDS:
                    faults.away = "refuses" if since < AWAY_SECONDS / 2 else "hangs"
                    await reads_work(platform, ada, view)
                    await asyncio.sleep(1)
                faults.away = ""
                since = time.monotonic()
                await platform.reach(ada, view, Phase.RUNNING)
                known = platform.runtime._pods
                assert known is not None
                await until_true(lambda: f"env-{view.slug}" in known.known, RECOVERY_SECONDS)
                print(f"seen again after {time.monotonic() - since:.1f} s")
                assert time.monotonic() - since <= RECOVERY_SECONDS
            assert uid_of(await admin.pod(view.slug) or {}) == uid_of(pod or {})
            await end_all(platform.runtime, admin, await platform.ref(view))
