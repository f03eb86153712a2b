"""What the controller makes of what it sees, on the fake runtime."""

from __future__ import annotations

import pytest

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import Phase, Stage, StopReason
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.errors import PackagesUnavailable, QuotaExceeded
from cmbcluster.packages.port import PackagesFailed
from tests.fakes.runtime import Behaviour
from tests.platform import Platform


async def _view(platform: Platform, actor: Actor, view: EnvironmentView) -> EnvironmentView:
    return await platform.parts.environments.get(actor, view.id)


async def test_a_launch_runs_with_measured_stages(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    platform.runtime.behaviour = Behaviour(builds_for_seconds=10, starts_for_seconds=5)
    launched = await platform.launch(ada)
    await platform.settle()
    assert (await _view(platform, ada, launched)).phase is Phase.PULLING
    platform.advance(11)
    await platform.settle()
    assert (await _view(platform, ada, launched)).phase is Phase.STARTING
    platform.advance(5)
    await platform.settle()
    view = await _view(platform, ada, launched)
    assert view.phase is Phase.RUNNING
    assert view.protection is not None
    stages = {stage.stage: stage for stage in view.stages}
    assert {Stage.QUEUED, Stage.RESOLVING, Stage.PORT} <= set(stages)
    assert all(stage.ended_at is not None for stage in view.stages)
    # The uptime begins when it runs, not when it was asked for.
    assert view.running_since == platform.clock.at
    assert view.deadline_at is not None
    assert (view.deadline_at - platform.clock.at).total_seconds() == 3600


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(build_fails=True), StopReason.BUILD_FAILED),
        (Behaviour(start_fails=True), StopReason.START_FAILED),
        (Behaviour(exits_with=3), StopReason.EXITED),
        (Behaviour(exits_with=0), StopReason.EXITED),
        (Behaviour(never_ready=True), StopReason.NEVER_READY),
    ],
)
async def test_a_launch_that_cannot_succeed_says_why_and_can_be_tried_again(
    platform: Platform, behaviour: Behaviour, reason: StopReason
) -> None:
    ada = await platform.sign_in("ada")
    platform.runtime.behaviour = behaviour
    launched = await platform.launch(ada)
    await platform.settle()
    platform.advance(200)
    await platform.settle()
    view = await _view(platform, ada, launched)
    assert view.phase is Phase.FAILED
    assert view.reason is not None
    assert view.reason.code is reason
    assert view.reason.what
    assert view.reason.then
    notices = await platform.parts.notices.recent(ada)
    assert [n.kind for n in notices] == ["failed"]
    assert (await platform.parts.accounts.limits(ada)).running == 0

    platform.runtime.behaviour = Behaviour()
    await platform.parts.environments.start(ada, view.id)
    await platform.settle()
    again = await _view(platform, ada, launched)
    assert (again.phase, again.reason) == (Phase.RUNNING, None)


async def test_a_requirement_that_does_not_exist_fails_with_its_sentence(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    platform.resolver.fails_with = PackagesFailed(
        StopReason.RESOLVE_FAILED, "There is no package healpyy.", "Check its name.", "uv: not found"
    )
    launched = await platform.launch(ada)
    await platform.settle()
    view = await _view(platform, ada, launched)
    assert view.reason is not None
    assert (view.reason.code, view.reason.what) == (StopReason.RESOLVE_FAILED, "There is no package healpyy.")
    assert "uv: not found" in view.reason.log_tail
    assert [s.failed for s in view.stages if s.stage is Stage.RESOLVING] == [True]
    assert platform.runtime.starts == []


async def test_a_silent_index_is_asked_again_before_giving_up(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    platform.resolver.fails_with = PackagesUnavailable("no answer")
    launched = await platform.launch(ada)
    reconciler = platform.controller()
    raised = 0
    for _ in range(10):
        try:
            await reconciler.reconcile(launched.id)
        except PackagesUnavailable:
            raised += 1
        await platform.turn()
    view = await _view(platform, ada, launched)
    assert raised == 2
    assert view.phase is Phase.FAILED
    assert view.reason is not None
    assert "did not answer" in view.reason.what


async def test_cancel_while_resolving(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    platform.resolver.seconds = 60
    launched = await platform.launch(ada)
    await platform.settle()
    assert (await _view(platform, ada, launched)).phase is Phase.PULLING
    await platform.parts.environments.stop(ada, launched.id)
    await platform.settle()
    view = await _view(platform, ada, launched)
    assert view.phase is Phase.STOPPED
    assert view.reason is not None
    assert view.reason.code is StopReason.CANCELLED
    assert platform.runtime.starts == []


async def test_an_end_by_itself_is_told_apart_from_a_failure(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    platform.runtime.behaviour = Behaviour(runs_for_seconds=100)
    running = await platform.running(ada)
    platform.advance(101)
    await platform.settle()
    view = await _view(platform, ada, running)
    assert view.phase in (Phase.STOPPED, Phase.FAILED)
    assert view.reason is not None
    assert view.reason.code is StopReason.EXITED


async def test_unknown_is_not_stopped(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    running = await platform.running(ada)
    platform.runtime.unavailable = True
    await platform.settle()
    view = await _view(platform, ada, running)
    assert view.phase is Phase.UNKNOWN
    assert view.last_seen_at is not None
    assert platform.runtime.stops == []
    platform.runtime.unavailable = False
    await platform.settle()
    view = await _view(platform, ada, running)
    assert view.phase is Phase.RUNNING
    assert view.running_since == running.running_since


async def test_a_restart_of_the_controller_changes_nothing(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    running = await platform.running(ada)
    platform.advance(600)
    await platform.forget_controller()
    await platform.settle()
    view = await _view(platform, ada, running)
    assert (view.phase, view.deadline_at) == (Phase.RUNNING, running.deadline_at)
    assert len(platform.runtime.starts) == 1


async def test_warned_at_15_and_5_minutes_and_stopped_each_once(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    running = await platform.running(ada)
    for _ in range(62 * 2):
        platform.advance(30)
        await platform.settle()
        if platform.clock.at.minute % 7 == 0:
            await platform.forget_controller()
    view = await _view(platform, ada, running)
    assert view.phase is Phase.STOPPED
    assert view.reason is not None
    assert view.reason.code is StopReason.DEADLINE
    assert "60 min" in view.reason.what or "1 h" in view.reason.what
    kinds = [notice.kind for notice in await platform.parts.notices.recent(ada)]
    assert kinds.count("warned") == 2
    assert kinds.count("stopped") == 1
    warned = await platform.parts.activity.page(ada, kind="warned")
    assert warned.total == 2


async def test_extension_earns_new_warnings(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    running = await platform.running(ada)
    platform.advance(46 * 60)
    await platform.settle()
    await platform.parts.environments.extend(ada, running.id)
    platform.advance(60 * 60)
    await platform.settle()
    assert (await platform.parts.activity.page(ada, kind="warned")).total == 2


async def test_short_uptime_is_not_warned_at_its_start(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    await platform.running(ada, uptime_seconds=300)
    await platform.settle()
    assert (await platform.parts.activity.page(ada, kind="warned")).total == 0


async def test_a_time_jump_past_the_deadline_stops_without_a_warning_storm(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    running = await platform.running(ada)
    platform.advance(7200)
    await platform.settle()
    assert (await _view(platform, ada, running)).phase is Phase.STOPPED
    assert (await platform.parts.activity.page(ada, kind="warned")).total == 0


async def test_memory_limit_is_told_in_words(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    running = await platform.running(ada)
    platform.runtime.end(platform.runtime.live()[0], StopReason.MEMORY)
    await platform.settle()
    view = await _view(platform, ada, running)
    assert view.phase is Phase.FAILED
    assert view.reason is not None
    assert view.reason.code is StopReason.MEMORY


async def test_delete_while_launching(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    platform.runtime.behaviour = Behaviour(builds_for_seconds=1000)
    launched = await platform.launch(ada)
    await platform.settle()
    await platform.parts.environments.delete(ada, launched.id, typed_name="planck", remove_workspace=True)
    await platform.settle()
    assert (await platform.parts.environments.page(ada)).total == 0
    assert platform.runtime.workspaces == {}


@pytest.mark.parametrize("seconds", [0, 6, 12, 30])
async def test_stopping_at_any_moment_leaves_no_process(platform: Platform, seconds: int) -> None:
    ada = await platform.sign_in("ada")
    platform.runtime.behaviour = Behaviour(builds_for_seconds=5, starts_for_seconds=10)
    launched = await platform.launch(ada)
    await platform.settle()
    platform.advance(seconds)
    await platform.settle()
    await platform.parts.environments.stop(ada, launched.id)
    await platform.settle()
    assert (await _view(platform, ada, launched)).phase is Phase.STOPPED
    assert platform.runtime.live() == ()


async def test_starting_again_counts_against_the_limit(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    first = await platform.running(ada, "first")
    await platform.parts.environments.stop(ada, first.id)
    await platform.settle()
    await platform.running(ada, "second")
    with pytest.raises(QuotaExceeded, match="1 of 1 running"):
        await platform.parts.environments.start(ada, first.id)


async def test_stages_to_come_are_named_with_what_they_usually_take(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    platform.runtime.behaviour = Behaviour(builds_for_seconds=10, starts_for_seconds=6)
    first = await platform.launch(elena, "first")
    waiting = {s.stage: s for s in first.stages if s.started_at is None}
    assert {stage: s.usual_seconds for stage, s in waiting.items()} == {Stage.STARTING: None, Stage.PORT: None}
    await platform.settle()
    for seconds in (11, 6):
        platform.advance(seconds)
        await platform.settle()
    assert all(s.started_at is not None for s in (await _view(platform, elena, first)).stages)
    second = await platform.launch(elena, "second")
    usual = {s.stage: s.usual_seconds for s in second.stages if s.started_at is None}
    assert usual[Stage.PORT] == 6
