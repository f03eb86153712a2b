"""Two controllers at once: with no lease at all, and with one that was frozen past its lease."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlmodel import col

from cmbcluster.controller.contents import Contents
from cmbcluster.controller.controller import Controller
from cmbcluster.controller.lease import Lease
from cmbcluster.controller.reconciler import Reconciler
from cmbcluster.controller.recorder import Recorder
from cmbcluster.controller.resolutions import Resolutions
from cmbcluster.db.models import Activity
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import AT_REST, Phase
from cmbcluster.wiring import Parts
from tests.fakes.runtime import Behaviour, FakeRuntime
from tests.faults.replicas import Shared, SlowRuntime, activity_of, order, people
from tests.platform import Clock

ENVIRONMENTS = 100
# On a machine that does much else; alone it takes a tenth of that.
QUIET_SECONDS = 240.0


async def _until(parts: Parts, actor: Actor, environment_id: UUID, phases: frozenset[Phase]) -> Phase:
    """Wait until the environment has one of these phases."""
    async with asyncio.timeout(QUIET_SECONDS):
        while True:
            async with parts.database.reading() as work:
                row = await work.environments.by_id(environment_id)
            assert row is not None
            if row.phase in phases:
                return Phase(row.phase)
            # Seldom: a hundred of these wait at once, and the controllers need the machine more.
            await asyncio.sleep(1.0)


async def _a_day(parts: Parts, actor: Actor, chance: random.Random) -> tuple[UUID, Counter[str], bool]:
    """Launch, then stop, start and delete as chance has it; what was acknowledged, and whether it is deleted."""
    acknowledged: Counter[str] = Counter()
    view = await parts.environments.launch(actor, order("day"))
    acknowledged["launched"] += 1
    for _ in range(chance.randrange(1, 3)):
        if chance.random() < 0.7:
            await _until(parts, actor, view.id, frozenset({Phase.RUNNING}))
        before = (await parts.environments.get(actor, view.id)).phase
        await parts.environments.stop(actor, view.id)
        acknowledged["stopping"] += 1 if before not in AT_REST else 0
        if chance.random() < 0.5:
            await _until(parts, actor, view.id, frozenset({Phase.STOPPED}))
            await parts.environments.start(actor, view.id)
            acknowledged["started"] += 1
        else:
            break
    deleted = chance.random() < 0.4
    if deleted:
        await parts.environments.delete(actor, view.id, typed_name="day", remove_workspace=True)
        acknowledged["deleted"] += 1
    return view.id, acknowledged, deleted


@pytest.mark.timeout(600)
async def test_f9_two_controllers_without_a_lease(url: str, tmp_path: Path, chance: random.Random) -> None:
    runtime = SlowRuntime(behaviour=Behaviour(starts_for_seconds=0.05, stops_for_seconds=0.05), chance=chance)
    shared = Shared(url, tmp_path, runtime)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(
                shared.replica(sweep_seconds=1.0, controller_workers=6, database_wait_seconds=60)
            )
            for _ in range(2)
        ]
        controllers = [Controller(parts, leased=False) for parts in replicas]
        for controller in controllers:
            await controller.open()
            stack.push_async_callback(controller.close)
        actors = await people(replicas[0].database, ENVIRONMENTS)
        days = await asyncio.gather(*(_a_day(replicas[index % 2], each, chance) for index, each in enumerate(actors)))
        for actor, (environment_id, acknowledged, deleted) in zip(actors, days, strict=True):
            ends = frozenset({Phase.GONE}) if deleted else frozenset({Phase.RUNNING, Phase.STOPPED})
            if not deleted:
                async with replicas[0].database.reading() as work:
                    row = await work.environments.by_id(environment_id)
                ends = frozenset({Phase.RUNNING if row is not None and row.desired == "running" else Phase.STOPPED})
            end = await _until(replicas[0], actor, environment_id, ends)
            kinds = Counter(await activity_of(replicas[0].database, actor, environment_id))
            assert {kind: kinds[kind] for kind in acknowledged} == dict(acknowledged)
            async with replicas[0].database.reading() as work:
                row = await work.environments.by_id(environment_id)
                notices = await work.notices.recent(actor.person(), 100)
            assert row is not None
            assert "failed" not in kinds
            # Each run is told to have begun and to have ended at most once.
            assert kinds["running"] <= row.run
            assert kinds["stopped"] + kinds["cancelled"] <= row.run
            if end is Phase.STOPPED:
                assert kinds["stopped"] + kinds["cancelled"] == row.run
            begun = [notice.once for notice in notices if notice.kind == "running"]
            assert len(set(begun)) == len(begun) == kinds["running"]
            assert runtime.most_at_once.get(environment_id, 0) <= 1
        await _only_wanted_runs_live(replicas[0], runtime)


async def _only_wanted_runs_live(parts: Parts, runtime: FakeRuntime) -> None:
    """Wait until what lives is what is wanted: a run that was started too late may end a sweep later."""
    async with asyncio.timeout(QUIET_SECONDS):
        while True:
            strange = []
            for ref in runtime.live():
                async with parts.database.reading() as work:
                    row = await work.environments.by_id(ref.environment_id)
                if row is None or row.run != ref.generation or row.phase != Phase.RUNNING:
                    strange.append((ref, row.phase if row else None))
            if not strange:
                return
            await asyncio.sleep(0.2)


class FrozenRecorder(Recorder):
    """Decides, and is frozen before it writes what it decided, as a stopped process is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.frozen = 0
        self.thawed = asyncio.Event()

    async def _pause(self) -> None:
        self.frozen += 1
        await self.thawed.wait()

    async def _written(self, *args: Any) -> Any:
        await self._pause()
        return await super()._written(*args)

    async def _stop_wanted(self, *args: Any) -> Any:
        await self._pause()
        return await super()._stop_wanted(*args)

    async def _warned(self, *args: Any) -> Any:
        await self._pause()
        return await super()._warned(*args)


@dataclass
class _Hand:
    """A controller that looks when it is told to."""

    parts: Parts
    recorder: Recorder
    reconciler: Reconciler

    @classmethod
    def of(cls, parts: Parts, kind: type[Recorder] = Recorder) -> _Hand:
        recorder = kind(parts.database, parts.bus)
        resolutions = Resolutions(lambda _: None)
        contents = Contents(recorder, parts.resolver, parts.images, parts.registries)
        return cls(parts, recorder, Reconciler(recorder, parts.runtime, parts.insight, resolutions, contents))

    async def look(self, ids: list[UUID], times: int = 1) -> None:
        for _ in range(times):
            await asyncio.gather(*(self.reconciler.reconcile(each) for each in ids))
            await asyncio.sleep(0)


async def _rows(parts: Parts, ids: list[UUID]) -> list[dict[str, Any]]:
    async with parts.database.reading() as work:
        rows = [await work.environments.by_id(each) for each in ids]
    return [row.model_dump() for row in rows if row is not None]


async def _told(parts: Parts) -> Counter[tuple[UUID, str]]:
    """How often everybody's log tells of each kind of thing."""
    async with parts.database.engine.connect() as connection:
        rows = await connection.execute(select(col(Activity.environment_id), col(Activity.kind)))
        return Counter((environment_id, kind) for environment_id, kind in rows if environment_id is not None)


@pytest.mark.timeout(600)
async def test_f8_a_controller_frozen_past_its_lease(url: str, tmp_path: Path) -> None:
    clock = Clock()
    runtime = FakeRuntime(now=clock)
    shared = Shared(url, tmp_path, runtime, clock)
    async with (
        shared.replica(database_wait_seconds=60) as old_parts,
        shared.replica(database_wait_seconds=60) as new_parts,
    ):
        old_lease, new_lease = (Lease(parts.database, "controller", 15.0) for parts in (old_parts, new_parts))
        await old_lease._ask()
        await new_lease._ask()
        assert (old_lease.epoch, new_lease.epoch) == (1, None)
        actors = await people(old_parts.database, ENVIRONMENTS)
        views = [await old_parts.environments.launch(actor, order("long")) for actor in actors]
        ids = [view.id for view in views]
        new = _Hand.of(new_parts)
        await new.look(ids, 6)
        assert {row["phase"] for row in await _rows(new_parts, ids)} == {Phase.RUNNING.value}

        # Both warnings' time and the deadline: the old one decides and is frozen, the new one acts, the old one wakes.
        for seconds, kind in ((3600 - 800, "warned"), (700, "warned"), (200, "stopped")):
            clock.at += timedelta(seconds=seconds)
            old = _Hand.of(old_parts, FrozenRecorder)
            assert isinstance(old.recorder, FrozenRecorder)
            looking = asyncio.create_task(old.look(ids))
            async with asyncio.timeout(QUIET_SECONDS):
                while old.recorder.frozen < ENVIRONMENTS:
                    await asyncio.sleep(0.05)
            await new_lease._ask()
            assert new_lease.epoch == 2
            await new.look(ids, 4)
            before = await _rows(new_parts, ids)
            told = await _told(new_parts)
            old.recorder.thawed.set()
            await looking
            assert await _rows(new_parts, ids) == before, f"the old one changed a row after {kind}"
            assert told == await _told(new_parts)
        assert {row["phase"] for row in before} == {Phase.STOPPED.value}
        for each in ids:
            assert {kind: told[each, kind] for kind in ("launched", "running", "warned", "stopped")} == {
                "launched": 1, "running": 1, "warned": 2, "stopped": 1,
            }  # fmt: skip
        assert Counter(ref.environment_id for ref in runtime.stops) == dict.fromkeys(ids, 1)
        # The old one finds out, and cannot take its lease back.
        await old_lease._ask()
        assert old_lease.epoch is None
        await old_lease.release()
        async with new_parts.database.reading() as work:
            lease = await work.leases.by_name("controller")
        assert lease is not None
        assert (lease.holder, lease.epoch) == (new_lease.holder, 2)


async def test_an_extension_that_came_between_is_not_stopped(url: str, tmp_path: Path) -> None:
    clock = Clock()
    shared = Shared(url, tmp_path, FakeRuntime(now=clock), clock)
    async with shared.replica() as parts:
        (ada,) = await people(parts.database, 1)
        view = await parts.environments.launch(ada, order("long"))
        hand = _Hand.of(parts)
        await hand.look([view.id], 6)
        clock.at += timedelta(seconds=3599)
        await parts.environments.extend(ada, view.id)
        async with parts.database.reading() as work:
            row = await work.environments.by_id(view.id)
        assert row is not None
        # The row as a controller read it before the extension; its deadline has come by now.
        row.extra_seconds = 0
        clock.at += timedelta(seconds=2)
        await hand.reconciler._uptime.look(row, clock.at)
        assert (await parts.environments.get(ada, view.id)).phase is Phase.RUNNING
        assert (await _rows(parts, [view.id]))[0]["desired"] == "running"


async def test_a_run_that_is_started_too_late_is_stopped(url: str, tmp_path: Path) -> None:
    clock = Clock()
    runtime = FakeRuntime(now=clock)
    shared = Shared(url, tmp_path, runtime, clock)
    async with shared.replica() as parts:
        (ada,) = await people(parts.database, 1)
        view = await parts.environments.launch(ada, order("late"))
        other, late = _Hand.of(parts), _Hand.of(parts)
        really = runtime.start
        late_starts = 0

        async def start_late(spec: Any) -> None:
            nonlocal late_starts
            late_starts += 1
            # Between the decision and the call another controller cancels the launch to its end.
            await parts.environments.stop(ada, view.id)
            await other.look([view.id], 4)
            assert (await parts.environments.get(ada, view.id)).phase is Phase.STOPPED
            await really(spec)

        runtime.start = start_late  # type: ignore[method-assign]
        await late.look([view.id], 4)
        runtime.start = really  # type: ignore[method-assign]
        assert late_starts == 1
        assert runtime.live() == ()
        assert (await parts.environments.get(ada, view.id)).phase is Phase.STOPPED
