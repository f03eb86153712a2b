"""What whoever looks after a cluster does to it: a node is closed to new pods."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from cmbcluster.domain.actors import Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.kubernetes.names import uid_of
from cmbcluster.runtime.port import Ending
from tests.faults.replicas import order, people
from tests.kubernetes.cluster import Admin, end_all, opened, settings_for, spec_of
from tests.kubernetes.hopeless import given_up
from tests.kubernetes.places import closed
from tests.kubernetes.whole import whole

pytestmark = pytest.mark.kubernetes
# Others use the node as well.
CLOSED_SECONDS = 7.0


async def pods_of(admin: Admin, *views: EnvironmentView) -> list[str]:
    return [uid_of(await admin.pod(view.slug) or {}) for view in views]


async def given_up_at_once(admin: Admin) -> Ending:
    """How a launch ends that is not given the three minutes a closed machine may take to open."""
    async with opened(settings_for(admin.namespace), patience=0.01) as runtime:
        ending = (await given_up(runtime, admin, spec_of("impatient"))).ending
    assert ending is not None
    return ending


@pytest.mark.hopeless("machines-closed")
async def test_a_closed_node_keeps_what_runs_and_a_launch_waits_in_words(
    namespace: str, admin: Admin, tmp_path: Path
) -> None:
    async with whole(namespace, tmp_path) as platform:
        ada, ben = await people(platform.parts.database, 2, Tier.PREMIUM)
        running = await platform.running(ada, "before")
        before = await pods_of(admin, running)
        async with closed(admin):
            since = time.monotonic()
            asked = await platform.parts.environments.launch(ben, order("closed"))
            impatient = asyncio.create_task(given_up_at_once(admin))
            said: list[str] = []
            while time.monotonic() - since < CLOSED_SECONDS:
                now = await platform.parts.environments.get(ben, asked.id)
                assert now.phase in (Phase.QUEUED, Phase.PULLING), now
                said += [each.detail for each in now.stages if each.detail]
                assert (await platform.parts.environments.get(ada, running.id)).phase is Phase.RUNNING
                await asyncio.sleep(0.2)
            ending = await impatient
        assert ending.what == "The cluster's machines take nothing new at the moment."
        assert set(said) == {"The cluster's machines take nothing new at the moment."}
        assert (await platform.reach(ben, asked, Phase.RUNNING, Phase.FAILED)).phase is Phase.RUNNING
        assert await pods_of(admin, running) == before
        assert (await platform.row(running)).run == (await platform.row(asked)).run == 1
        await end_all(platform.runtime, admin, await platform.ref(running), await platform.ref(asked))
