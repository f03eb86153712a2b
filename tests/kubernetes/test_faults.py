"""An API server that loses answers, refuses, cuts and stalls; people and nodes that meddle (F3, F4, F5).

Environments that no machine takes are enough where only objects are counted: they cost nothing.
Every test prints its seed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from kubernetes.aio.client.configuration import Configuration

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.errors import DependencyError
from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.names import pod_name
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.kubernetes.watching import Rhythm
from cmbcluster.runtime.port import Observation, Placement, Sight, Spec
from tests.contracts.runtime_contract import eventually, watching
from tests.kubernetes.cluster import Admin, end_all, opened, settings_for, spec_of, until_true
from tests.kubernetes.proxy import Faults, proxied
from tests.runtime.place import until

pytestmark = pytest.mark.kubernetes
HOW_MANY = 20
QUICK = Rhythm(server_seconds=60, silence_seconds=3, first_pause_seconds=0.05, longest_pause_seconds=0.5)


@asynccontextmanager
async def failing(namespace: str, faults: Faults, rhythm: Rhythm = QUICK) -> AsyncIterator[KubernetesRuntime]:
    """A runtime behind a proxy that fails."""
    async with proxied(faults) as address:

        async def connect() -> Cluster:
            return Cluster(Configuration(host=address))

        async with opened(settings_for(namespace), connect=connect, rhythm=rhythm) as runtime:
            yield runtime


def seed() -> int:
    chosen = int(os.environ.get("CMB_TEST_SEED") or secrets.randbits(32))
    print(f"CMB_TEST_SEED={chosen}")
    return chosen


def nowhere(slug: str, generation: int = 1) -> Spec:
    """An environment that waits for a machine for ever."""
    image = PinnedImage("registry.invalid/nobody/there", "sha256:" + "cd" * 32, 1)
    placement = Placement(node_selector=(("cmb-test", "nowhere"),))
    variables = {"KEY": "value"}
    return replace(spec_of(slug, generation=generation, variables=variables), content=image, placement=placement)


async def persist(step: Callable[[], object], tries: int = 60) -> None:
    """Repeat a step as the controller does: with growing pauses, for retryable errors alone."""
    pause_seconds = 0.05
    for _ in range(tries):
        try:
            await step()  # type: ignore[misc]
        except DependencyError as wrong:
            assert wrong.retryable, wrong
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, 1)
        else:
            return
    raise AssertionError("it never succeeded")


async def launch_and_stop(runtime: KubernetesRuntime, admin: Admin, prefix: str) -> None:
    """Make many, look, stop, remove; everything must be there once, then gone."""
    specs = [nowhere(f"{prefix}-{number}") for number in range(HOW_MANY)]
    await asyncio.gather(*(persist(lambda s=spec: runtime.start(s)) for spec in specs))  # type: ignore[misc]
    mine = {name for name in await admin.names("pods") if name.startswith(f"env-{prefix}-")}
    assert mine == {pod_name(spec.ref.slug) for spec in specs}
    for kind in ("persistentvolumeclaims", "secrets"):
        assert len([name for name in await admin.names(kind) if prefix in name]) == HOW_MANY
    await asyncio.gather(*(persist(lambda s=spec: runtime.stop(s.ref)) for spec in specs))  # type: ignore[misc]
    for spec in specs:
        seen: list[Observation] = []

        async def look(spec: Spec = spec, seen: list[Observation] = seen) -> None:
            seen.append(await runtime.look(spec.ref))

        await persist(look)
        assert seen[-1].sight is Sight.EXITED
        assert seen[-1].ending is not None
        assert seen[-1].ending.reason is StopReason.CANCELLED
    assert not [name for name in await admin.names("secrets") if prefix in name]
    await asyncio.gather(*(persist(lambda s=spec: runtime.remove(s.ref, workspace=True)) for spec in specs))  # type: ignore[misc]

    async def is_gone() -> bool:
        return not [name for name in await admin.names("persistentvolumeclaims") if prefix in name]

    await until_true(is_gone)


async def test_answers_that_are_lost_after_the_commit_double_nothing(namespace: str, admin: Admin) -> None:
    faults = Faults(seed(), lose_answers=0.4)
    async with failing(namespace, faults) as runtime:
        await launch_and_stop(runtime, admin, "lost")
    assert faults.lost > HOW_MANY / 2


async def test_a_third_of_all_calls_refused_costs_at_most_three_times_the_calls(namespace: str, admin: Admin) -> None:
    chosen = seed()
    without, with_faults = Faults(chosen), Faults(chosen, refuse=0.3)
    async with failing(namespace, without) as runtime:
        await launch_and_stop(runtime, admin, "calm")
    async with failing(namespace, with_faults) as runtime:
        await launch_and_stop(runtime, admin, "storm")
    assert with_faults.refused > HOW_MANY
    print(f"{len(without.asked)} calls without faults, {len(with_faults.asked)} with")
    assert len(with_faults.asked) <= 3 * len(without.asked)


async def test_a_launch_takes_three_writes_the_first_time_and_two_later(namespace: str, admin: Admin) -> None:
    faults = Faults(0)
    async with failing(namespace, faults) as runtime:
        first, second = nowhere("counted"), nowhere("counted", generation=2)
        await runtime.start(first)
        assert len(faults.writes()) == 3, faults.writes()
        await runtime.stop(first.ref)
        faults.asked.clear()
        await runtime.start(second)
        assert len(faults.writes()) == 2, faults.writes()
        await end_all(runtime, admin, second.ref)


@pytest.mark.parametrize("kind", ["cut", "gone_by_status", "gone_in_stream", "stall"])
async def test_what_happens_behind_a_broken_watch_is_noticed(namespace: str, admin: Admin, kind: str) -> None:
    faults = Faults(0, watch_seconds=2.0 if kind == "cut" else None)
    async with failing(namespace, faults) as runtime:
        spec, seen = nowhere(f"behind-{kind.replace('_', '-')}"), list[Observation]()
        async with watching(runtime, seen):
            await runtime.start(spec)
            await eventually(seen, spec.ref, Sight.BUILDING)
            if kind != "cut":
                setattr(faults, kind, True)
            await asyncio.sleep(2.5)
            await admin.delete_pod(spec.ref.slug)
            await asyncio.sleep(0.5)
            faults.stall = False
            await eventually(seen, spec.ref, Sight.ABSENT)
        await runtime.remove(spec.ref, workspace=True)


async def test_a_pod_deleted_by_hand_is_told_and_its_run_can_be_followed(namespace: str, admin: Admin) -> None:
    async with opened(settings_for(namespace)) as runtime:
        spec, seen = spec_of("by-hand"), list[Observation]()
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.RUNNING, seconds=60)
        async with watching(runtime, seen):
            await admin.delete_pod("by-hand")
            await eventually(seen, spec.ref, Sight.EXITED)
        ending = (await runtime.look(spec.ref)).ending
        assert ending is not None
        assert (ending.reason, ending.what) == (StopReason.TAKEN_AWAY, "Somebody deleted it in the cluster.")
        following = spec_of("by-hand", generation=2)
        await runtime.start(following)
        await until(runtime, following.ref, Sight.RUNNING, seconds=60)
        await end_all(runtime, admin, following.ref)
