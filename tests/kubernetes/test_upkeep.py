"""What whoever looks after a cluster does to it: a node closed to new pods, and the API server's store restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cmbcluster.domain.actors import Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.kubernetes.names import uid_of
from tests.faults.replicas import activity_of, order, people
from tests.kubernetes.cluster import Admin, end_all, until_true
from tests.kubernetes.whole import Whole, whole

pytestmark = pytest.mark.kubernetes
ROOT = Path(__file__).parents[2]
# Others use the node as well.
CLOSED_SECONDS = 7.0
KUBE = Path(os.environ.get("CMB_TEST_KUBE") or ROOT / "../shared/kube/kube")
STATE = Path(os.environ.get("CMB_KUBE_STATE") or "/run/cmb-kube")
BACK_SECONDS = 60.0


async def pods_of(admin: Admin, *views: EnvironmentView) -> list[str]:
    return [uid_of(await admin.pod(view.slug) or {}) for view in views]


@asynccontextmanager
async def closed(admin: Admin) -> AsyncIterator[None]:
    """Within, no node takes new pods; those that were open are open again afterwards, whatever happened."""
    nodes = await admin.cluster.get("/api/v1/nodes")
    assert nodes is not None
    names = [each["metadata"]["name"] for each in nodes["items"] if not each["spec"].get("unschedulable")]
    try:
        for name in names:
            await admin.cluster.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        yield
    finally:
        for name in names:
            await admin.cluster.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})


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
            said: list[str] = []
            while time.monotonic() - since < CLOSED_SECONDS:
                now = await platform.parts.environments.get(ben, asked.id)
                assert now.phase in (Phase.QUEUED, Phase.PULLING), now
                said += [each.detail for each in now.stages if each.detail]
                assert (await platform.parts.environments.get(ada, running.id)).phase is Phase.RUNNING
                await asyncio.sleep(0.2)
        assert set(said) == {"The cluster's machines take nothing new at the moment."}
        assert (await platform.reach(ben, asked, Phase.RUNNING, Phase.FAILED)).phase is Phase.RUNNING
        assert await pods_of(admin, running) == before
        assert (await platform.row(running)).run == (await platform.row(asked)).run == 1
        await end_all(platform.runtime, admin, await platform.ref(running), await platform.ref(asked))


async def restart_store() -> None:
    """End etcd as a crash does; ``kube up`` starts what is missing."""
    identifier = int((STATE / "etcd.pid").read_text())
    assert "etcd" in Path(f"/proc/{identifier}/comm").read_text()
    os.kill(identifier, signal.SIGKILL)
    try:
        await until_true(lambda: not Path(f"/proc/{identifier}").exists() or _is_zombie(identifier), 20)
        await asyncio.sleep(3)
    finally:
        await asyncio.to_thread(subprocess.run, [str(KUBE), "up"], check=True, capture_output=True, timeout=180)


def _is_zombie(identifier: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{identifier}/status").read_text()


@pytest.mark.skipif(
    not (KUBE.exists() and (STATE / "etcd.pid").exists()),
    reason="needs the program that starts the cluster (CMB_TEST_KUBE)",
)
async def test_the_store_restarted_loses_and_doubles_nothing(namespace: str, admin: Admin, tmp_path: Path) -> None:
    async with whole(namespace, tmp_path) as platform:
        ada, ben, eve = await people(platform.parts.database, 3, Tier.PREMIUM)
        mine = [(ada, await platform.running(ada, name)) for name in ("one", "two")]
        before = await pods_of(admin, *(view for _, view in mine))
        stopping = await platform.running(ben, "stopping")
        # One is asked for and one is asked to stop just before, so that both are under way.
        launched = await platform.parts.environments.launch(eve, order("launched"))
        await platform.parts.environments.stop(ben, stopping.id)
        await asyncio.sleep(0.3)
        since = time.monotonic()
        await restart_store()
        print(f"the store was away for {time.monotonic() - since:.1f} s")
        await platform.reach(ben, stopping, Phase.STOPPED)
        assert (await platform.reach(eve, launched, Phase.RUNNING, Phase.FAILED)).phase is Phase.RUNNING
        for actor, view in mine:
            await platform.reach(actor, view, Phase.RUNNING)
            assert await activity_of(platform.parts.database, actor, view.id) == ["launched", "running"]
        print(f"all was as it should be {time.monotonic() - since:.1f} s after it went away")
        assert await pods_of(admin, *(view for _, view in mine)) == before
        assert await _runs(platform, *(view for _, view in mine), launched, stopping) == [1, 1, 1, 1]
        wanted = {f"env-{view.slug}" for view in (*(view for _, view in mine), launched)}

        async def has_them_alone() -> bool:
            return await admin.names("pods") == wanted

        await until_true(has_them_alone, BACK_SECONDS)
        await end_all(
            platform.runtime, admin, *[await platform.ref(view) for view in (*(v for _, v in mine), launched, stopping)]
        )


async def _runs(platform: Whole, *views: EnvironmentView) -> list[int]:
    return [(await platform.row(view)).run for view in views]
