"""What runs as was asked and is heard of is not asked for again and again; whatever is in doubt is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cmbcluster.controller.controller import Controller
from cmbcluster.controller.reconciler import Reconciler
from cmbcluster.controller.uptime import quiet_seconds
from cmbcluster.db.environments import StandingRow
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.runtime.port import Observation, Ref
from tests.platform import START, Platform, open_platform

SWEEP_SECONDS = 0.05
SWEEPS = 10


class Counted:
    """How often each run was looked at live."""

    def __init__(self, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        look = platform.runtime.look

        async def counted(ref: Ref) -> Observation:
            self.count += 1
            return await look(ref)

        monkeypatch.setattr(platform.runtime, "look", counted)


@asynccontextmanager
async def working(platform: Platform) -> AsyncIterator[None]:
    controller = Controller(platform.parts)
    await controller.open()
    try:
        yield
    finally:
        await controller.close()


def ref_of(view: EnvironmentView) -> Ref:
    return Ref(view.id, view.slug, 1)


async def test_a_sweep_leaves_alone_what_is_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_platform(tmp_path, sweep_seconds=SWEEP_SECONDS) as platform:
        view = await platform.running(await platform.sign_in("elena"))
        assert view.phase is Phase.RUNNING
        platform.runtime.heard[ref_of(view)] = platform.clock()
        looked, woken = Counted(platform, monkeypatch), list[UUID]()
        reconcile = Reconciler.reconcile

        async def noted(reconciler: Reconciler, environment_id: UUID) -> float | None:
            woken.append(environment_id)
            return await reconcile(reconciler, environment_id)

        monkeypatch.setattr(Reconciler, "reconcile", noted)
        async with working(platform):
            await asyncio.sleep(SWEEPS * SWEEP_SECONDS)
            assert looked.count == 0
            # Its row is not even read, neither at the beginning nor when it is told of nor at each sweep.
            assert not woken
            # What is followed fell silent: from now on it is asked.
            platform.runtime.heard.clear()
            async with asyncio.timeout(5):
                while looked.count < 2:
                    await asyncio.sleep(SWEEP_SECONDS)


async def test_its_time_is_looked_after_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_platform(tmp_path) as platform:
        elena = await platform.sign_in("elena")
        view = await platform.running(elena, uptime_seconds=3600)
        platform.runtime.heard[ref_of(view)] = platform.clock()
        looked = Counted(platform, monkeypatch)
        platform.advance(3590)
        await platform.settle()
        assert looked.count == 0
        assert [notice.kind for notice in await platform.parts.notices.recent(elena)][:1] == ["warned"]
        platform.advance(20)
        await platform.settle()
        stopped = await platform.parts.environments.get(elena, view.id)
        assert stopped.phase in (Phase.STOPPING, Phase.STOPPED)


async def test_a_wish_to_stop_is_carried_out_whatever_is_heard(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as platform:
        elena = await platform.sign_in("elena")
        view = await platform.running(elena)
        platform.runtime.heard[ref_of(view)] = platform.clock()
        await platform.parts.environments.stop(elena, view.id)
        for _ in range(3):
            await platform.settle()
            platform.advance(30)
        assert (await platform.parts.environments.get(elena, view.id)).phase is Phase.STOPPED


async def test_when_it_is_seen_no_more_people_read_when_it_was_heard_of(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as platform:
        elena = await platform.sign_in("elena")
        view = await platform.running(elena)
        platform.advance(60)
        heard_at = platform.clock() - timedelta(seconds=7)
        platform.runtime.heard[ref_of(view)] = heard_at
        await platform.settle()
        platform.runtime.heard.clear()
        platform.runtime.unseen.add(view.slug)
        platform.advance(600)
        await platform.settle()
        lost = await platform.parts.environments.get(elena, view.id)
        assert (lost.phase, lost.last_seen_at) == (Phase.UNKNOWN, heard_at)


@pytest.mark.parametrize(
    ("ran_seconds", "waits_seconds"),
    [
        (0, 600.0),  # clocks may step, so never longer
        (2690, 10.0),  # the first warning is due a quarter of an hour before the end
        (2700, None),
        (3500, None),
        (4000, None),
    ],
)
def test_what_is_due_about_its_time_is_looked_at_alone(ran_seconds: int, waits_seconds: float | None) -> None:
    row = StandingRow(uuid4(), "lab-k7q2mx", 1, Phase.RUNNING.value, 1, 1, None, START, 3600, 0)
    wait = quiet_seconds(row, START + timedelta(seconds=ran_seconds))
    assert wait == (None if waits_seconds is None else pytest.approx(waits_seconds, abs=0.1))


async def test_after_a_start_its_time_is_looked_after_without_anybody_waking_it(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as platform:
        elena = await platform.sign_in("elena")
        view = await platform.running(elena, uptime_seconds=3600)
        platform.runtime.heard[ref_of(view)] = platform.clock()
        # A second before its first warning is due.
        platform.advance(2699)
        async with working(platform):
            platform.advance(2)
            async with asyncio.timeout(10):
                while not any(notice.kind == "warned" for notice in await platform.parts.notices.recent(elena)):
                    await asyncio.sleep(0.05)


async def test_what_nothing_will_wake_is_not_left_alone(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as platform:
        view = await platform.running(await platform.sign_in("elena"))
        platform.runtime.heard[ref_of(view)] = platform.clock()
        async with platform.parts.database.reading() as work:
            (row,) = await work.environments.unsettled()
        controller = Controller(platform.parts)
        assert not controller._is_steady(row)
        controller._queue.add(view.id, 600.0)
        assert controller._is_steady(row)
