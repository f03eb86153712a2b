"""What people and machines do to a cluster while the platform works: nothing is lost, doubled, or left without a row.

A pod is deleted by hand, a quota is reached, the node is closed, no volume can be made, and the kubelet is silent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cmbcluster.domain.lifecycle import Phase, StopReason
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.kubernetes.names import uid_of
from cmbcluster.wiring import Parts
from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import Person, Scene, persons, scene
from tests.faults.controllers import Crew
from tests.faults.replicas import Shared
from tests.kubernetes.cluster import Admin, needs, until_true, wanted
from tests.kubernetes.disturbing import disturbing
from tests.kubernetes.places import closed

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]
SILENT_SECONDS = 120.0
CLOSED_SECONDS = 5.0
QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "1"}}}


@pytest.fixture
async def played(tmp_path: Path, url: str, own_namespace: str) -> AsyncIterator[Scene]:
    """Two controllers, which give a launch in trouble less time than usual."""
    async with scene(Crew(tmp_path, url, own_namespace, patience=0.05)) as made:
        yield made


@pytest.fixture
async def parts(played: Scene, tmp_path: Path) -> AsyncIterator[Parts]:
    """What people ask."""
    async with Shared(played.url, tmp_path / "web", FakeRuntime()).replica() as made:
        yield made


async def seen(person: Person) -> EnvironmentView:
    """What its owner reads now."""
    assert person.id is not None
    return await person.parts.environments.get(person.actor, person.id)


async def until_phase(person: Person, *phases: Phase) -> EnvironmentView:
    """Wait until its owner reads one of these."""

    async def reached() -> EnvironmentView | None:
        now = await seen(person)
        return now if now.phase in phases else None

    found: EnvironmentView = await until_true(reached, 90)
    return found


async def only(admin: Admin, *, pods: list[Person], claims: list[Person]) -> None:
    """The namespace holds the pods and the workspaces of these people, and no other."""
    assert await admin.names("pods") == {f"env-{(await seen(each)).slug}" for each in pods}
    found = {each for each in await admin.names("persistentvolumeclaims") if each.startswith("workspace-")}
    assert found == {f"workspace-{(await seen(each)).slug}" for each in claims}


async def test_a_pod_deleted_by_hand_and_a_quota_that_is_reached(played: Scene, parts: Parts) -> None:
    first, second = await persons(parts, played.ledger, "first", "second")
    async with played.crew.manned():
        assert await first.ask("launch")
        await played.until_quiet()

        await played.admin.delete_pod((await seen(first)).slug)
        told = await until_phase(first, Phase.FAILED)
        assert told.reason is not None
        assert (told.reason.code, told.reason.what) == (StopReason.TAKEN_AWAY, "Somebody deleted it in the cluster.")
        assert await first.ask("start")
        await played.until_quiet()
        # The ledger knows what people asked, and not that one ended by itself: it is counted here.
        await played.until_right("first")
        await only(played.admin, pods=[first], claims=[first])

        await played.admin.create("resourcequotas", QUOTA)
        await until_true(lambda: _is_counted(played.admin))
        assert await second.ask("launch")
        told = await until_phase(second, Phase.FAILED)
        assert told.reason is not None
        assert told.reason.code is StopReason.QUOTA
        assert (await seen(first)).phase is Phase.RUNNING
        await only(played.admin, pods=[first], claims=[first, second])
        # With the first one stopped there is room.
        assert await first.ask("stop")
        await until_phase(first, Phase.STOPPED)
        assert await second.ask("start")
        await played.until_quiet()
        await played.until_right("first", "second")
        await only(played.admin, pods=[second], claims=[first, second])
        assert await first.ask("remove")
        assert await second.ask("remove")
        await played.until_quiet()
        await only(played.admin, pods=[], claims=[])


async def test_a_volume_that_nobody_makes(tmp_path: Path, url: str, own_namespace: str) -> None:
    settings = {"CMB_KUBERNETES_STORAGE_CLASS": "nobody-makes-these"}
    async with (
        scene(Crew(tmp_path, url, own_namespace, settings=settings, patience=0.02)) as played,
        Shared(url, tmp_path / "web", FakeRuntime()).replica() as parts,
        played.crew.manned(),
    ):
        (person,) = await persons(parts, played.ledger, "unbound")
        assert await person.ask("launch")
        told = await until_phase(person, Phase.FAILED)
        assert told.reason is not None
        assert told.reason.code is StopReason.VOLUME
        assert await person.ask("remove")
        await played.until_quiet()
        await played.until_right()


@needs("CMB_TEST_KUBELET_PID")
async def test_a_closed_node_and_a_kubelet_that_is_silent_for_two_minutes(
    tmp_path: Path, url: str, own_namespace: str
) -> None:
    async with (
        scene(Crew(tmp_path, url, own_namespace)) as played,
        Shared(url, tmp_path / "web", FakeRuntime()).replica() as parts,
        played.crew.manned(),
    ):
        steady, late, stopped = await persons(parts, played.ledger, "steady", "late", "stopped")
        async with disturbing():
            assert await steady.ask("launch")
            assert await stopped.ask("launch")
            await played.until_quiet()
            before = uid_of(await played.admin.pod((await seen(steady)).slug) or {})
            async with closed(played.admin):
                assert await late.ask("launch")
                await asyncio.sleep(CLOSED_SECONDS)
                assert (await seen(late)).phase in (Phase.QUEUED, Phase.PULLING)
            await played.until_quiet()
            async with silent():
                assert await stopped.ask("stop")
                phases = await phases_of(stopped, steady, late)
            assert phases[steady.name] == phases[late.name] == {Phase.RUNNING, Phase.UNKNOWN}
            assert phases[stopped.name] <= {Phase.RUNNING, Phase.UNKNOWN, Phase.STOPPING}
            await played.until_quiet()
            await played.until_right()
        assert uid_of(await played.admin.pod((await seen(steady)).slug) or {}) == before
        assert (await seen(steady)).phase is (await seen(late)).phase is Phase.RUNNING
        assert (await seen(stopped)).phase is Phase.STOPPED


@asynccontextmanager
async def silent() -> AsyncIterator[None]:
    """Within, the kubelet says and does nothing."""
    kubelet = int(Path(wanted("CMB_TEST_KUBELET_PID")).read_text())
    os.kill(kubelet, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kubelet, signal.SIGCONT)


async def phases_of(*whom: Person) -> dict[str, set[Phase]]:
    """All that their owners read in the time of silence; what nobody sees is told with the moment it was last seen."""
    phases: dict[str, set[Phase]] = {person.name: set() for person in whom}
    until = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < until:
        for person in whom:
            now = await seen(person)
            phases[person.name].add(now.phase)
            assert now.phase is not Phase.UNKNOWN or now.last_seen_at is not None
        await asyncio.sleep(0.5)
    return phases


async def _is_counted(admin: Admin) -> bool:
    """Whether the quota knows what is there already."""
    found = await admin.cluster.get(f"{admin.base}/resourcequotas/full")
    return bool(found and found.get("status", {}).get("used"))
