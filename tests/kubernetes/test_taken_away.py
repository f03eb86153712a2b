"""What the cluster itself takes away: drained, preempted, and on a node that leaves. Nothing here is made up.

The eviction API, the scheduler and the collector of pods do what they do on any cluster. The owner reads why, the
environment begins again by itself, and the workspace is the same.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cmbcluster.domain.actors import Actor, Tier
from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import Phase, StopReason
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.kubernetes.names import GENERATION, labels_of, pod_name, uid_of
from cmbcluster.runtime.port import Placement, Sight, Spec
from tests.faults.replicas import activity_of, people
from tests.kubernetes.cluster import SERVER, Admin, end_all, needs, opened, settings_for, spec_of, until_true
from tests.kubernetes.disturbing import disturbing
from tests.kubernetes.places import SEAT, cordoned, evict, important, one_seat, two_machines
from tests.kubernetes.whole import Whole, whole
from tests.runtime.place import python, until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]
# The collector of pods looks each 20 s, and waits 40 s for a node that may come back.
COLLECTED_SECONDS = 150.0
NOBODYS_IMAGE = PinnedImage("registry.invalid/nobody/there", "sha256:" + "cd" * 32, 1)
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER


async def claim_uid(admin: Admin, view: EnvironmentView) -> str:
    found = await admin.cluster.get(f"{admin.base}/persistentvolumeclaims/workspace-{view.slug}")
    return uid_of(found or {"metadata": {"uid": "none"}})


class Case:
    """One environment that something happens to."""

    def __init__(self, platform: Whole, admin: Admin, actor: Actor) -> None:
        self.platform, self.admin, self.actor = platform, admin, actor
        self.view: EnvironmentView
        self.claim = ""

    async def launch(self, name: str) -> str:
        """Returns the node it runs on."""
        self.view = await self.platform.running(self.actor, name)
        self.claim = await claim_uid(self.admin, self.view)
        return str((await self.pod())["spec"]["nodeName"])

    async def pod(self) -> dict[str, Any]:
        found = await self.admin.pod(self.view.slug)
        assert found is not None
        return found

    async def told(self, what: str, seconds: float = 60) -> None:
        """The owner reads, once, what happened; meanwhile it is never called stopped or failed."""

        async def is_told() -> bool:
            now = await self.platform.parts.environments.get(self.actor, self.view.id)
            assert now.phase not in (Phase.FAILED, Phase.STOPPED), now.reason
            page = await self.platform.parts.activity.page(self.actor)
            return [row.detail for row in page.rows if row.kind == "restarted"] == [what]

        await until_true(is_told, seconds)
        notices = await self.platform.parts.notices.recent(self.actor)
        text = f"{self.view.name} was restarted. {what} Its workspace is kept; what it held in memory is lost."
        assert [each.text for each in notices if each.kind == "restarted"] == [text]

    async def waits(self, detail: str) -> None:
        """Its second run finds no place, in words."""

        async def is_so() -> bool:
            now = await self.platform.parts.environments.get(self.actor, self.view.id)
            return detail in [stage.detail for stage in now.stages]

        await until_true(is_so)

    async def runs_again(self) -> None:
        """One pod, of the second run, over the same workspace."""
        again = await self.platform.reach(self.actor, self.view, Phase.RUNNING, Phase.FAILED)
        assert again.phase is Phase.RUNNING, again.reason
        assert labels_of(await self.pod())[GENERATION] == "2"
        assert (await self.platform.ref(self.view)).generation == 2
        assert await claim_uid(self.admin, self.view) == self.claim
        told = await activity_of(self.platform.parts.database, self.actor, self.view.id)
        assert told == ["launched", "running", "restarted", "running"]
        assert self.view.deadline_at is not None
        assert again.deadline_at is not None
        assert again.deadline_at >= self.view.deadline_at


async def drained(case: Case) -> None:
    node = await case.launch("drained")
    async with cordoned(case.admin, node):
        await evict(case.admin, pod_name(case.view.slug))
        await case.told("The machine it ran on was emptied, as for maintenance.")
        await case.waits("The cluster's machines take nothing new at the moment.")
    await case.runs_again()


async def preempted(case: Case, node: str, name: str) -> None:
    async with one_seat(case.admin, node):
        await case.launch("preempted")
        async with important(case.admin, name):
            await case.told("It had to make room for something the cluster holds more important.")
            await case.waits(f"No machine of the cluster has enough {SEAT} free.")
        await case.runs_again()


async def lost(case: Case) -> None:
    node = await case.launch("lost")
    await case.admin.cluster.delete(f"/api/v1/nodes/{node}")
    await case.told("The machine it ran on left the cluster.", COLLECTED_SECONDS)
    await case.runs_again()
    assert (await case.pod())["spec"]["nodeName"] != node


@pytest.mark.ended("preempted")
@pytest.mark.ended("drained")
@pytest.mark.ended("node-left")
@needs("CMB_TEST_KUBE")
@needs("CMB_TEST_KUBELET_PID")
async def test_what_is_drained_preempted_or_on_a_lost_node_begins_again_and_says_why(
    namespace: str, admin: Admin, tmp_path: Path
) -> None:
    name = f"cmb-test-{secrets.token_hex(4)}"
    async with disturbing(), whole(namespace, tmp_path) as platform, two_machines(admin, name) as pretended:
        cases = [Case(platform, admin, each) for each in await people(platform.parts.database, 3, Tier.PREMIUM)]

        def placed(spec: Spec) -> Spec:
            if spec.ref.slug.startswith("lost-"):
                return replace(spec, content=NOBODYS_IMAGE, placement=pretended)
            if spec.ref.slug.startswith("preempted-"):
                return replace(spec, placement=Placement(gpus=1, gpu_resource=SEAT))
            return spec

        platform.runtime.adjust = placed

        async def on_the_real_node() -> None:
            # One after the other, since a closed node would keep the important one out as well.
            await drained(cases[1])
            await preempted(cases[2], str((await cases[1].pod())["spec"]["nodeName"]), name)

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(lost(cases[0]))
                tasks.create_task(on_the_real_node())
        finally:
            refs = [await platform.ref(case.view) for case in cases if hasattr(case, "view")]
            await end_all(platform.runtime, admin, *refs)


async def test_why_it_was_taken_is_known_to_a_platform_that_was_away_when_it_went(namespace: str, admin: Admin) -> None:
    settings = settings_for(namespace, kubernetes_stop_grace_seconds=8)
    spec = spec_of("evicted-unseen", python(STUBBORN, "{address}", "{port}"))
    async with opened(settings) as runtime:
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.RUNNING, seconds=60)
        await evict(admin, pod_name(spec.ref.slug))
        assert (await runtime.look(spec.ref)).sight is Sight.STOPPING

    async def is_gone() -> bool:
        return await admin.pod(spec.ref.slug) is None

    await until_true(is_gone)
    async with opened(settings) as runtime:
        seen = await runtime.look(spec.ref)
        assert seen.ending is not None
        assert (seen.sight, seen.ending.reason) == (Sight.EXITED, StopReason.EVICTED)
        assert seen.ending.what == "The machine it ran on was emptied, as for maintenance."
        await end_all(runtime, admin, spec.ref)
