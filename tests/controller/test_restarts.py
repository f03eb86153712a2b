"""What a cluster took away begins again by itself, where that is safe: a few times, and within its own time."""

from __future__ import annotations

import pytest

from cmbcluster.controller.recorder import MOST_RESTARTS
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import TAKEN_BY_CLUSTER, Phase, StopReason
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.port import Ending, Ref
from tests.fakes.runtime import Behaviour
from tests.faults.replicas import activity_of
from tests.platform import Platform

REASONS = sorted(TAKEN_BY_CLUSTER)


async def taken_away(platform: Platform, actor: Actor, view: EnvironmentView, reason: StopReason) -> EnvironmentView:
    """The environment after its present run ended for a reason, and the controller has done what it does."""
    async with platform.parts.database.reading() as work:
        row = await work.environments.by_id(view.id)
    assert row is not None
    platform.runtime.end(Ref(row.id, row.slug, row.run), reason)
    await platform.settle()
    return await platform.parts.environments.get(actor, view.id)


async def running(platform: Platform, actor: Actor) -> EnvironmentView:
    launched = await platform.launch(actor)
    await platform.settle()
    return await platform.parts.environments.get(actor, launched.id)


@pytest.mark.parametrize("reason", REASONS)
async def test_it_runs_again_and_its_owner_reads_why(platform: Platform, reason: StopReason) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    again = await taken_away(platform, ada, view, reason)
    assert (again.phase, again.reason) == (Phase.RUNNING, None)
    assert [spec.ref.generation for spec in platform.runtime.starts] == [1, 2]
    assert platform.runtime.removed == []
    assert await activity_of(platform.parts.database, ada, view.id) == ["launched", "running", "restarted", "running"]
    told = {notice.kind: notice.text for notice in await platform.parts.notices.recent(ada)}
    assert told["restarted"] == (
        f"{view.name} was restarted. It ended by itself. Its workspace is kept; what it held in memory is lost."
    )


async def test_its_time_goes_on_where_it_was(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    platform.advance(600)
    again = await taken_away(platform, ada, view, StopReason.EVICTED)
    assert (again.deadline_at, again.phase) == (view.deadline_at, Phase.RUNNING)
    # Waiting for a machine is nobody's time.
    platform.runtime.behaviour = Behaviour(builds_for_seconds=120)
    third = await taken_away(platform, ada, view, StopReason.NODE_LOST)
    assert third.phase is Phase.PULLING
    platform.advance(121)
    await platform.settle()
    third = await platform.parts.environments.get(ada, view.id)
    assert view.deadline_at is not None
    assert third.deadline_at is not None
    assert (third.deadline_at - view.deadline_at).total_seconds() == 121


async def test_an_end_before_its_beginning_gives_no_time_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    began_at = platform.clock()
    platform.advance(600)
    ending = Ending(StopReason.NODE_LOST, "Its machine left.", "Start it again.", ended_at=began_at)
    monkeypatch.setattr(platform.runtime, "_ending", lambda *_: ending)
    again = await taken_away(platform, ada, view, StopReason.NODE_LOST)
    assert (again.deadline_at, again.phase) == (view.deadline_at, Phase.RUNNING)


async def test_nothing_begins_again_for_who_was_disabled(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    async with platform.parts.database.transaction() as work:
        owner = await work.users.by_id(ada.person())
        assert owner is not None
        owner.disabled_at = platform.clock()
    last = await taken_away(platform, ada, view, StopReason.EVICTED)
    assert (last.phase, len(platform.runtime.starts)) == (Phase.FAILED, 1)


async def test_it_is_not_begun_again_for_ever(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    for _ in range(MOST_RESTARTS):
        assert (await taken_away(platform, ada, view, StopReason.PREEMPTED)).phase is Phase.RUNNING
    last = await taken_away(platform, ada, view, StopReason.PREEMPTED)
    assert last.phase is Phase.FAILED
    assert last.reason is not None
    assert last.reason.code is StopReason.PREEMPTED
    # Its owner's own word counts from the beginning.
    await platform.parts.environments.start(ada, view.id)
    await platform.settle()
    assert (await taken_away(platform, ada, view, StopReason.PREEMPTED)).phase is Phase.RUNNING


async def test_not_for_the_last_minute_of_its_time(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    platform.advance(3600 - 30)
    last = await taken_away(platform, ada, view, StopReason.EVICTED)
    assert last.phase is Phase.FAILED


@pytest.mark.parametrize(
    "reason", [StopReason.MEMORY, StopReason.DISK_FULL, StopReason.EXITED, StopReason.TAKEN_AWAY, StopReason.LOST]
)
async def test_what_was_its_own_doing_waits_for_its_owner(platform: Platform, reason: StopReason) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    assert (await taken_away(platform, ada, view, reason)).phase is Phase.FAILED
    assert len(platform.runtime.starts) == 1


async def test_who_asked_for_the_end_gets_it(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await running(platform, ada)
    await platform.parts.environments.stop(ada, view.id)
    last = await taken_away(platform, ada, view, StopReason.EVICTED)
    assert last.phase is Phase.STOPPED
    assert len(platform.runtime.starts) == 1
