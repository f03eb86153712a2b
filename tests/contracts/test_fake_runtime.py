"""The fake keeps the contract, and its knobs do what they say."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.port import Observation, Sight, Spec
from tests.contracts.runtime_contract import OpenRuntime, RuntimeContract, watching
from tests.fakes.runtime import Behaviour, FakeRuntime
from tests.runtime.place import make_spec, until

KINDS = {
    "serves": Behaviour(starts_for_seconds=0.02, stops_for_seconds=0.02),
    "slow": Behaviour(starts_for_seconds=30),
    "exits": Behaviour(exits_with=3),
    "never_ready": Behaviour(never_ready=True),
    "broken_build": Behaviour(builds_for_seconds=0.05, build_fails=True),
}


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> OpenRuntime:
        return FakeRuntime()

    def spec(self, runtime: OpenRuntime, slug: str, kind: str, generation: int = 1) -> Spec:
        assert isinstance(runtime, FakeRuntime)
        runtime.behaviours[slug] = KINDS[kind]
        return make_spec(slug, generation=generation, ready_within_seconds=1 if kind == "never_ready" else 30)


async def test_a_clock_that_jumps_drives_it() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    runtime = FakeRuntime(Behaviour(builds_for_seconds=60, starts_for_seconds=10), now=lambda: now)
    spec = make_spec("clock")
    await runtime.start(spec)
    for seconds, sight in ((0, Sight.BUILDING), (59, Sight.BUILDING), (60, Sight.STARTING), (70, Sight.RUNNING)):
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        assert (await runtime.look(spec.ref)).sight is sight


async def test_start_may_die_after_it_made_the_run() -> None:
    runtime = FakeRuntime(Behaviour(dies_after_create=True))
    spec = make_spec("half-made")
    with pytest.raises(RuntimeUnavailable):
        await runtime.start(spec)
    await until(runtime, spec.ref, Sight.RUNNING)
    await runtime.start(spec)
    assert len(runtime.starts) == 1


async def test_lies_are_told_to_observers_alone() -> None:
    runtime = FakeRuntime()
    spec = make_spec("liar")
    await runtime.start(spec)
    runtime.lies["liar"] = Sight.ABSENT
    seen: list[Observation] = []
    async with watching(runtime, seen):
        await until(runtime, spec.ref, Sight.RUNNING)
        runtime.end(spec.ref, StopReason.MEMORY, 137)
        await until(runtime, spec.ref, Sight.EXITED)
        await asyncio.sleep(0.02)
    assert {each.sight for each in seen} == {Sight.ABSENT}


async def test_unseen_and_unavailable_are_different_things() -> None:
    runtime = FakeRuntime()
    spec = make_spec("fog")
    await runtime.start(spec)
    runtime.unseen.add("fog")
    assert (await runtime.look(spec.ref)).sight is Sight.UNKNOWN
    runtime.unavailable = True
    with pytest.raises(RuntimeUnavailable):
        await runtime.look(spec.ref)


async def test_processes_are_counted() -> None:
    runtime = FakeRuntime()
    spec = make_spec("counted", environment_id=uuid.uuid4())
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.RUNNING)
    assert runtime.processes(spec.ref.environment_id) == 1
    assert runtime.most_at_once[spec.ref.environment_id] == 1
    runtime.lose(spec.ref)
    assert runtime.processes(spec.ref.environment_id) == 0
