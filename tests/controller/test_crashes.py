"""Killed at every checkpoint of launch, stop, deadline and delete, a new controller converges (F1)."""

from __future__ import annotations

import pytest

from cmbcluster.controller.checkpoints import Checkpoint
from cmbcluster.domain.lifecycle import Phase, Stage, StopReason
from cmbcluster.errors import NotFound, RuntimeUnavailable
from tests.fakes.runtime import Behaviour
from tests.platform import Platform


class Killed(BaseException):
    """Stands for ``kill -9``: nothing catches it."""


class Killer:
    """A probe that kills the first time a checkpoint is reached."""

    def __init__(self, at: Checkpoint) -> None:
        self.at = at
        self.killed = False

    def __call__(self, reached: Checkpoint) -> None:
        if reached is self.at and not self.killed:
            self.killed = True
            raise Killed


async def _life(platform: Platform, killer: Killer) -> None:
    """Launch, warn, reach the deadline, start again, stop, delete; the controller dies once on the way."""

    async def settle() -> None:
        try:
            await platform.settle(killer)
        except Killed:
            await platform.forget_controller()
            await platform.settle()

    ada = await platform.sign_in("ada")
    platform.runtime.behaviour = Behaviour(builds_for_seconds=5, starts_for_seconds=5, stops_for_seconds=5)
    services = platform.parts.environments
    view = await platform.launch(ada)
    for seconds in (0, 6, 6, 46 * 60, 10 * 60, 5 * 60, 6):
        platform.advance(seconds)
        await settle()
        _check(platform)
    stopped = await services.get(ada, view.id)
    assert stopped.phase is Phase.STOPPED
    assert stopped.reason is not None
    assert stopped.reason.code is StopReason.DEADLINE

    await services.start(ada, view.id)
    for seconds in (0, 6, 6):
        platform.advance(seconds)
        await settle()
        _check(platform)
    assert (await services.get(ada, view.id)).phase is Phase.RUNNING
    await services.stop(ada, view.id)
    for seconds in (0, 6):
        platform.advance(seconds)
        await settle()
    assert (await services.get(ada, view.id)).phase is Phase.STOPPED

    await services.delete(ada, view.id, typed_name="planck", remove_workspace=True)
    await settle()
    with pytest.raises(NotFound):
        await services.get(ada, view.id)
    assert platform.runtime.workspaces == {}
    for kind, times in {"warned": 2, "stopped": 2, "running": 2, "deleted": 1}.items():
        assert (await platform.parts.activity.page(ada, kind=kind)).total == times, kind


def _check(platform: Platform) -> None:
    assert all(most <= 1 for most in platform.runtime.most_at_once.values())
    assert len({spec.ref for spec in platform.runtime.starts}) == len(platform.runtime.starts)


@pytest.mark.parametrize("checkpoint", list(Checkpoint))
async def test_converges_after_a_kill(platform: Platform, checkpoint: Checkpoint) -> None:
    killer = Killer(checkpoint)
    await _life(platform, killer)
    assert killer.killed, f"{checkpoint} was never reached"


async def test_a_start_again_that_was_not_written_down_is_found_running(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    view = await platform.running(ada)
    await platform.parts.environments.stop(ada, view.id)
    await platform.settle()
    platform.runtime.behaviour = Behaviour(dies_after_create=True)
    await platform.parts.environments.start(ada, view.id)
    with pytest.raises(RuntimeUnavailable):
        await platform.settle()
    await platform.settle()
    again = await platform.parts.environments.get(ada, view.id)
    assert again.phase is Phase.RUNNING
    assert again.stages[0].stage is Stage.QUEUED


async def test_the_runtime_made_it_and_then_stopped_answering(platform: Platform) -> None:
    ada = await platform.sign_in("ada")
    platform.runtime.behaviour = Behaviour(dies_after_create=True)
    view = await platform.launch(ada)
    for _ in range(3):
        try:
            await platform.settle()
        except Exception as failed:
            assert type(failed).__name__ == "RuntimeUnavailable"
    assert (await platform.parts.environments.get(ada, view.id)).phase is Phase.RUNNING
    assert len(platform.runtime.starts) == 1
