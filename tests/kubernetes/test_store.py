"""The store behind the API server goes away and comes back, and the past that watches ask for is not there any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from cmbcluster.domain.actors import Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.runtime.kubernetes.names import ENVIRONMENT, Json, labels_of
from cmbcluster.runtime.kubernetes.watching import Rhythm, Watcher
from tests.faults.lengths import lasting
from tests.faults.replicas import order, people
from tests.kubernetes.cluster import Admin, end_all, needs, until_true
from tests.kubernetes.disturbing import disturbing, without
from tests.kubernetes.steady import going_on, reads_work
from tests.kubernetes.whole import whole

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]
AWAY_SECONDS = lasting(8, full=60)
RECOVERY_SECONDS = 60.0
ETCD = "http://127.0.0.1:23790"
WATCHING = "cmbcluster.runtime.kubernetes.watching"


async def compact() -> None:
    """Let the store forget everything but the present."""
    async with httpx.AsyncClient(base_url=ETCD, timeout=30) as client:
        revision = (await client.post("/v3/maintenance/status", json={})).json()["header"]["revision"]
        answer = await client.post("/v3/kv/compaction", json={"revision": revision, "physical": True})
        assert answer.status_code == 200, answer.text


async def uids(admin: Admin, kind: str) -> dict[str, str]:
    found = await admin.cluster.get(f"{admin.base}/{kind}")
    assert found is not None
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found["items"]}


async def pods_by_environment(admin: Admin) -> Counter[str]:
    found = await admin.cluster.get(f"{admin.base}/pods")
    assert found is not None
    return Counter(labels_of(each).get(ENVIRONMENT, "") for each in found["items"])


@needs("CMB_TEST_KUBE")
@needs("CMB_TEST_KUBELET_PID")
async def test_a_store_that_is_away_stops_nothing_and_what_was_asked_meanwhile_is_done(
    namespace: str, admin: Admin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, WATCHING)
    async with disturbing(), whole(namespace, tmp_path) as platform:
        ada, ben = await people(platform.parts.database, 2, Tier.PREMIUM)
        mine = [(ada, await platform.running(ada, name)) for name in ("one", "two")]
        before = await uids(admin, "persistentvolumeclaims")
        asked = []
        async with going_on(platform, admin, *mine) as phases:
            # A new API server knows nothing of the past, and its watches say that they are too old.
            for away in (("etcd",), ("apiserver", "etcd")):
                async with without(*away):
                    asked.append(await platform.parts.environments.launch(ben, order(f"without-{away[0]}")))
                    end = time.monotonic() + AWAY_SECONDS
                    while time.monotonic() < end:
                        await reads_work(platform, ada, *(view for _, view in mine))
                        now = await platform.parts.environments.get(ben, asked[-1].id)
                        assert now.phase not in (Phase.FAILED, Phase.STOPPED), now.reason
                        await asyncio.sleep(1)
                since = time.monotonic()
                await compact()
                for actor, view in (*mine, (ben, asked[-1])):
                    await platform.reach(actor, view, Phase.RUNNING, Phase.FAILED)
                took_seconds = time.monotonic() - since
                print(f"without {away}: all runs {took_seconds:.1f} s after it was there again, seen {sorted(phases)}")
                assert took_seconds <= RECOVERY_SECONDS
        assert Phase.UNKNOWN in phases, "nobody noticed"
        assert "too old resource version" in str([vars(record).get("error") for record in caplog.records])
        views = [*(view for _, view in mine), *asked]
        # One each, in a namespace that all tests of this session use one after the other.
        found = await pods_by_environment(admin)
        assert {str(view.id): found[str(view.id)] for view in views} == {str(view.id): 1 for view in views}
        after = await uids(admin, "persistentvolumeclaims")
        assert {name: after.get(name) for name in before} == before
        assert set(after) - set(before) == {f"workspace-{view.slug}" for view in asked}
        await end_all(platform.runtime, admin, *[await platform.ref(view) for view in views])


async def test_a_watch_from_a_time_that_the_store_has_not_come_to_does_not_stay_silent(admin: Admin) -> None:
    """After its store was set back, an API server lets such a watch wait without a word until time has caught up."""
    told: list[str] = []

    def tell(item: Json, is_gone: bool) -> None:
        told.append(("-" if is_gone else "+") + str(item["metadata"]["name"]))

    rhythm = Rhythm(server_seconds=5, silence_seconds=30, first_pause_seconds=0.05)
    watcher = Watcher(admin.cluster, f"{admin.base}/configmaps", {}, tell, rhythm=rhythm)
    watcher._version = "9000000000"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after-the-restore"}}
    following = asyncio.create_task(watcher.run())
    try:
        await admin.create("configmaps", body)
        await until_true(lambda: "+after-the-restore" in told, 30)
        await admin.cluster.delete(f"{admin.base}/configmaps/after-the-restore")
        await until_true(lambda: "-after-the-restore" in told, 30)
    finally:
        following.cancel()
        await asyncio.wait([following])
