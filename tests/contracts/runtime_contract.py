"""What every runtime must do, the real ones and the fake: the promises of ``runtime/port.py``."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import pytest

from cmbcluster.domain.lifecycle import Stage, StopReason
from cmbcluster.errors import Conflict
from cmbcluster.runtime.port import Insight, LogLine, Observation, Ref, Runtime, Sight, Spec
from tests.runtime.place import stop_and_remove, until


class OpenRuntime(Runtime, Insight, Protocol):
    """Both contracts and the two ends of a runtime's life."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class RuntimeContract:
    """Subclasses give a fixture ``runtime`` (open) and say how programs of a kind come about.

    A cluster measures less than a machine: its figures come late, without a count of processes,
    and nobody there knows how full a volume is.
    """

    measures_at_once = True

    async def has_workspace(self, runtime: OpenRuntime, ref: Ref) -> bool:
        """Whether the workspace is there."""
        return await runtime.workspace_bytes(ref) is not None

    @abstractmethod
    def spec(self, runtime: OpenRuntime, slug: str, kind: str, generation: int = 1) -> Spec:
        """``kind``: serves, slow (never answers for long), exits, never_ready or broken_build."""

    @pytest.fixture
    def runtime(self) -> OpenRuntime:
        """An open runtime without environments."""
        raise AssertionError("subclasses give it")

    async def test_what_was_never_started_is_absent(self, runtime: OpenRuntime) -> None:
        ref = self.spec(runtime, "nobody", "serves").ref
        seen = await runtime.look(ref)
        assert (seen.sight, seen.endpoint, seen.ending) == (Sight.ABSENT, None, None)
        assert await runtime.usage(ref) is None
        assert await runtime.workspace_bytes(ref) is None
        assert runtime.heard_running(ref) is None
        await runtime.stop(ref)
        assert (await runtime.look(ref)).sight is Sight.ABSENT

    async def test_a_program_becomes_running_with_an_endpoint_and_stages(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "first-light", "serves")
        # Some runtimes tell times in whole seconds.
        before = datetime.now(UTC).replace(microsecond=0)
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.RUNNING, Sight.EXITED)
        assert seen.sight is Sight.RUNNING
        heard_at = runtime.heard_running(spec.ref)
        assert heard_at is None or heard_at >= before
        assert runtime.heard_running(replace(spec.ref, generation=2)) is None
        assert seen.endpoint is not None
        assert seen.endpoint.port > 0
        assert seen.protection is not None
        assert seen.protection.level in ("own-network", "sandbox", "none", "pod")
        stages = {mark.stage: mark for mark in seen.stages}
        assert stages[Stage.STARTING].started_at >= before
        assert stages[Stage.PORT].ended_at is not None
        assert not any(mark.failed for mark in seen.stages)
        usage = await runtime.usage(spec.ref)
        assert usage is not None
        if self.measures_at_once:
            assert usage.memory_bytes
            assert usage.processes
        assert await self.has_workspace(runtime, spec.ref)
        await stop_and_remove(runtime, spec)

    async def test_starting_twice_is_starting_once(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "twice", "serves")
        await asyncio.gather(*(runtime.start(spec) for _ in range(5)))
        seen = await until(runtime, spec.ref, Sight.RUNNING)
        await runtime.start(spec)
        again = await runtime.look(spec.ref)
        assert (again.sight, again.endpoint) == (Sight.RUNNING, seen.endpoint)
        await stop_and_remove(runtime, spec)

    async def test_two_generations_never_run_together(self, runtime: OpenRuntime) -> None:
        first = self.spec(runtime, "generations", "serves")
        second = self.spec(runtime, "generations", "serves", generation=2)
        await runtime.start(first)
        with pytest.raises(Conflict):
            await runtime.start(second)
        await until(runtime, first.ref, Sight.RUNNING)
        with pytest.raises(Conflict):
            await runtime.start(second)
        await runtime.stop(first.ref)
        await until(runtime, first.ref, Sight.EXITED)
        await runtime.start(second)
        await until(runtime, second.ref, Sight.RUNNING)
        await runtime.start(first)
        assert (await runtime.look(first.ref)).sight is Sight.EXITED
        await stop_and_remove(runtime, second)

    async def test_an_older_generation_is_not_begun_after_a_newer(self, runtime: OpenRuntime) -> None:
        newer = self.spec(runtime, "late", "serves", generation=7)
        await runtime.start(newer)
        await until(runtime, newer.ref, Sight.RUNNING)
        await runtime.stop(newer.ref)
        await until(runtime, newer.ref, Sight.EXITED)
        with pytest.raises(Conflict):
            await runtime.start(self.spec(runtime, "late", "serves", generation=6))
        await stop_and_remove(runtime, newer)

    async def test_stopping_ends_it_and_says_so(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "stopped", "serves")
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.RUNNING)
        await runtime.stop(spec.ref)
        await runtime.stop(spec.ref)
        seen = await until(runtime, spec.ref, Sight.EXITED)
        assert seen.endpoint is None
        assert seen.ending is not None
        assert seen.ending.reason is StopReason.ASKED
        assert await runtime.usage(spec.ref) is None
        await runtime.start(spec)
        assert (await runtime.look(spec.ref)).sight is Sight.EXITED
        await stop_and_remove(runtime, spec)

    async def test_stopping_before_it_is_ready_cancels(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "cancelled", "slow")
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.BUILDING, Sight.STARTING)
        await runtime.stop(spec.ref)
        seen = await until(runtime, spec.ref, Sight.EXITED)
        assert seen.ending is not None
        assert seen.ending.reason in (StopReason.CANCELLED, StopReason.ASKED)
        await stop_and_remove(runtime, spec)

    async def test_a_program_that_exits_at_once_ends_with_its_code(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "exits", "exits")
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.EXITED)
        assert seen.ending is not None
        assert (seen.ending.reason, seen.ending.exit_code) == (StopReason.EXITED, 3)
        assert seen.ending.what
        assert seen.ending.then
        assert seen.ending.log_tail
        assert seen.ending.ended_at is not None
        await stop_and_remove(runtime, spec)

    async def test_a_program_that_never_answers_is_given_up(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "silent", "never_ready")
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.EXITED)
        assert seen.ending is not None
        assert seen.ending.reason is StopReason.NEVER_READY
        assert "nothing answered on port 8501 within 1 s" in seen.ending.what
        await stop_and_remove(runtime, spec)

    async def test_a_build_that_fails_ends_the_run(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "broken", "broken_build")
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.EXITED)
        assert seen.ending is not None
        assert seen.ending.reason is StopReason.BUILD_FAILED
        assert seen.protection is None
        await stop_and_remove(runtime, spec)

    async def test_removing_refuses_while_running_and_keeps_the_workspace_unless_told(
        self, runtime: OpenRuntime
    ) -> None:
        spec = self.spec(runtime, "removed", "serves")
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.RUNNING)
        with pytest.raises(Conflict):
            await runtime.remove(spec.ref, workspace=True)
        await runtime.stop(spec.ref)
        await until(runtime, spec.ref, Sight.EXITED)
        await runtime.remove(spec.ref, workspace=False)
        assert (await runtime.look(spec.ref)).sight is Sight.ABSENT
        assert await self.has_workspace(runtime, spec.ref)
        await runtime.remove(spec.ref, workspace=True)
        assert not await self.has_workspace(runtime, spec.ref)
        await runtime.remove(spec.ref, workspace=True)

    async def test_observing_lists_and_then_tells_changes(self, runtime: OpenRuntime) -> None:
        old = self.spec(runtime, "seen-before", "serves")
        await runtime.start(old)
        await until(runtime, old.ref, Sight.RUNNING)
        new = self.spec(runtime, "seen-later", "serves")
        seen: list[Observation] = []
        async with watching(runtime, seen):
            await eventually(seen, old.ref, Sight.RUNNING)
            await runtime.start(new)
            await eventually(seen, new.ref, Sight.RUNNING)
            await runtime.stop(new.ref)
            await eventually(seen, new.ref, Sight.EXITED)
            await runtime.remove(new.ref, workspace=True)
            await eventually(seen, new.ref, Sight.ABSENT)
        sights = [each.sight for each in seen if each.ref == new.ref]
        assert sights.index(Sight.RUNNING) < sights.index(Sight.EXITED) < sights.index(Sight.ABSENT)
        await stop_and_remove(runtime, old)

    async def test_logs_can_be_followed_continued_and_cut(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "talks", "serves")
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.RUNNING)
        followed = asyncio.create_task(collect(runtime.logs(spec.ref, offset=0, follow=True)))
        lines = await collect(runtime.logs(spec.ref, offset=0, follow=False))
        assert lines
        assert all(line.at is not None and line.text for line in lines)
        offsets = [line.offset for line in lines]
        assert offsets == sorted(set(offsets))
        assert await collect(runtime.logs(spec.ref, offset=offsets[-1], follow=False)) == []
        if len(lines) > 1:
            assert (await collect(runtime.logs(spec.ref, offset=offsets[0], follow=False))) == lines[1:]
        assert (await collect(runtime.logs(spec.ref, offset=-3, follow=False)))[-1:] in ([], lines[-1:])
        await runtime.stop(spec.ref)
        whole = await asyncio.wait_for(followed, 10)
        assert [line.text for line in whole[: len(lines)]] == [line.text for line in lines]
        await until(runtime, spec.ref, Sight.EXITED)
        for offset in (0, -100_000):
            last = await collect(runtime.logs(spec.ref, offset=offset, follow=True))
            # When each was written need not be known any more.
            assert lines[-1].text in [line.text for line in last]
            assert await collect(runtime.logs(spec.ref, offset=last[-1].offset, follow=False)) == []
        await stop_and_remove(runtime, spec)
        assert await collect(runtime.logs(spec.ref, offset=0, follow=True)) == []

    async def test_what_the_run_before_said_can_be_read_while_the_next_one_runs(self, runtime: OpenRuntime) -> None:
        async def texts(spec: Spec) -> list[str]:
            return [line.text for line in await collect(runtime.logs(spec.ref, offset=0, follow=False))]

        first = self.spec(runtime, "says-it-again", "exits")
        await runtime.start(first)
        await until(runtime, first.ref, Sight.EXITED)
        said = await texts(first)
        assert said
        second = self.spec(runtime, "says-it-again", "serves", 2)
        await runtime.start(second)
        await until(runtime, second.ref, Sight.RUNNING)
        assert await texts(first) == said
        said = await texts(second)
        await runtime.stop(second.ref)
        await until(runtime, second.ref, Sight.EXITED)
        third = self.spec(runtime, "says-it-again", "serves", 3)
        await runtime.start(third)
        assert (await texts(second))[: len(said)] == said
        await runtime.stop(third.ref)
        await until(runtime, third.ref, Sight.EXITED)
        await stop_and_remove(runtime, third)

    async def test_closing_leaves_environments_running_and_opening_finds_them(self, runtime: OpenRuntime) -> None:
        spec = self.spec(runtime, "survivor", "serves")
        await runtime.start(spec)
        before = await until(runtime, spec.ref, Sight.RUNNING)
        await runtime.close()
        await runtime.open()
        after = await runtime.look(spec.ref)
        assert (after.sight, after.endpoint, after.stages) == (Sight.RUNNING, before.endpoint, before.stages)
        await stop_and_remove(runtime, spec)


@contextlib.asynccontextmanager
async def watching(runtime: Runtime, seen: list[Observation]) -> AsyncIterator[None]:
    """Collect observations for as long as the block lasts."""

    async def collect_all() -> None:
        async for each in runtime.observe():
            seen.append(each)

    task = asyncio.create_task(collect_all())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def eventually(seen: list[Observation], ref: Ref, sight: Sight) -> None:
    """Wait until an observation of ``ref`` with ``sight`` was told."""
    async with asyncio.timeout(20):
        while not any(each.ref == ref and each.sight is sight for each in seen):
            await asyncio.sleep(0.01)


async def collect(lines: AsyncIterator[LogLine]) -> list[LogLine]:
    """Everything an iterator gives."""
    return [line async for line in lines]
