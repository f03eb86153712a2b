"""What the platform itself adds between a click and a running environment on a real cluster."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from cmbcluster.db.models import Environment
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.names import pod_name
from tests.bench.report import Row, Section, least_and_most, median, millis, publish, quantile
from tests.bench.surroundings import data_folder, quiet_logs
from tests.faults.replicas import order, people
from tests.kubernetes.cluster import admin_of, make_namespace, remove_namespace
from tests.kubernetes.whole import Whole, whole

LAUNCHES = 20
WARM_UP = 2
LOOK_AGAIN_SECONDS = 0.005
SILENCE_SECONDS = 300.0
GOAL_SECONDS = 0.150


class Bystander:
    """Somebody else who watches the pods: when each was there, and when the cluster said that it is ready."""

    def __init__(self) -> None:
        self.added_at: dict[str, float] = {}
        self.ready_at: dict[str, float] = {}
        self._ready: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def watch(self, cluster: Cluster, path: str) -> None:
        """Note what happens until it is cancelled."""
        async with cluster.stream(path, {"watch": "true"}, SILENCE_SECONDS) as lines:
            async for line in lines:
                at = time.perf_counter()
                pod = json.loads(line)["object"]
                name = pod["metadata"]["name"]
                self.added_at.setdefault(name, at)
                conditions = pod["status"].get("conditions", ())
                if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
                    self.ready_at.setdefault(name, at)
                    self._ready[name].set()

    async def until_ready(self, name: str) -> None:
        """Return when the cluster said so."""
        await self._ready[name].wait()


@dataclass(frozen=True)
class Launched:
    """Seconds of one launch."""

    before_pod: float
    after_ready: float
    whole: float

    @property
    def ours(self) -> float:
        """What neither scheduler nor kubelet nor program took."""
        return self.before_pod + self.after_ready


async def _launch(platform: Whole, actor: Actor, bystander: Bystander, name: str) -> Launched:
    clicked_at = time.perf_counter()
    view = await platform.parts.environments.launch(actor, order(name))
    while True:
        async with platform.parts.database.reading() as work:
            row: Environment | None = await work.environments.by_id(view.id)
        if row is not None and row.phase == Phase.RUNNING:
            break
        if row is None or row.phase == Phase.FAILED:
            raise RuntimeError(f"the launch failed: {row.reason_what if row is not None else 'no row'}")
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    running_at = time.perf_counter()
    pod = pod_name(view.slug)
    await bystander.until_ready(pod)
    measured = Launched(
        bystander.added_at[pod] - clicked_at, running_at - bystander.ready_at[pod], running_at - clicked_at
    )
    await platform.parts.environments.delete(actor, view.id, typed_name=name, remove_workspace=True)
    return measured


async def _all(folder: Path) -> list[Launched]:
    folder.mkdir(parents=True, exist_ok=True)
    namespace = await make_namespace()
    try:
        async with whole(namespace, folder) as platform, admin_of(namespace) as admin:
            bystander = Bystander()
            watching = asyncio.create_task(bystander.watch(admin.cluster, f"{admin.base}/pods"))
            actors = await people(platform.parts.database, LAUNCHES + WARM_UP)
            found = [await _launch(platform, actor, bystander, f"l-{n}") for n, actor in enumerate(actors)]
            watching.cancel()
            return found[WARM_UP:]
    finally:
        await remove_namespace(namespace)


def _measure() -> Section:
    with data_folder() as data:
        found = asyncio.run(_all(data))
    ours = [each.ours for each in found]
    rows = (
        Row(
            "our share of click to running",
            millis(median(ours)),
            f"p90 {millis(quantile(ours, 0.9))}, {least_and_most(ours)}",
            f"≤ {millis(GOAL_SECONDS)}",
            median(ours) <= GOAL_SECONDS,
        ),
        Row("of it until the pod is there", millis(median([each.before_pod for each in found])), ""),
        Row("of it after the pod is ready", millis(median([each.after_ready for each in found])), ""),
        Row("click to running, all of it", millis(median([each.whole for each in found])), "an image that is there"),
    )
    return Section(
        "cluster",
        "A launch on a cluster",
        rows,
        (
            f"{LAUNCHES} launches one after the other on a cluster of one node that is this machine, of an application "
            "without packages, with a new claim each. Another watcher of the pods says when a pod was there and when "
            "the cluster called it ready; what lies between is the scheduler's, the kubelet's and the program's. "
            "Services, controller and database (SQLite) are one process.",
        ),
    )


def main() -> None:
    """Measure and publish; leave the figures as they were where there is no cluster."""
    if not os.environ.get("KUBECONFIG"):
        sys.exit("needs a cluster: docs/kubernetes.md says how the test cluster is started")
    quiet_logs()
    publish(_measure())


if __name__ == "__main__":
    main()
