"""The time of what ran and is not seen to run now goes on: it is warned, and its end is asked for."""

from __future__ import annotations

import pytest

from cmbcluster.db.models import Environment
from cmbcluster.domain.lifecycle import Desired, Phase, StopReason
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.port import Observation, Ref, Sight
from tests.platform import Platform

NOT_RUNNING = [Sight.BUILDING, Sight.STARTING, Sight.STOPPING, Sight.UNKNOWN, Sight.RUNNING]


async def row_of(platform: Platform, view: EnvironmentView) -> Environment:
    async with platform.parts.database.reading() as work:
        row = await work.environments.by_id(view.id)
    assert row is not None
    return row


def sees(platform: Platform, monkeypatch: pytest.MonkeyPatch, sight: Sight) -> None:
    """From now on every run is seen like this, and at no address."""

    async def look(ref: Ref) -> Observation:
        return Observation(ref, sight, platform.clock())

    monkeypatch.setattr(platform.runtime, "look", look)


@pytest.mark.parametrize("sight", NOT_RUNNING)
@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.UNKNOWN])
async def test_its_time_is_over_whatever_is_seen(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, sight: Sight, phase: Phase
) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena, uptime_seconds=3600)
    if phase is Phase.UNKNOWN:
        platform.runtime.unseen.add(view.slug)
        await platform.settle()
        assert (await row_of(platform, view)).phase == Phase.UNKNOWN
    sees(platform, monkeypatch, sight)
    platform.advance(3590)
    await platform.settle()
    await platform.settle()
    assert [notice.kind for notice in await platform.parts.notices.recent(elena)][:1] == ["warned"]
    assert (await row_of(platform, view)).desired == Desired.RUNNING
    platform.advance(20)
    await platform.settle()
    row = await row_of(platform, view)
    assert (row.desired, row.stop_reason) == (Desired.STOPPED, StopReason.DEADLINE)
    # Nobody knows whether what is not seen has stopped.
    assert (row.phase == Phase.STOPPING) is (sight is not Sight.UNKNOWN)
    assert len(platform.runtime.stops) == (0 if sight is Sight.UNKNOWN else 1)
