"""The sweep's own memory, which the observer changes while rows are read."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID, uuid4

import pytest

from cmbcluster.controller.orphans import Orphans
from cmbcluster.controller.recorder import Recorder
from cmbcluster.db.environments import StandingRow
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.runtime.port import Observation, Ref, Runtime, Sight, Workspace
from tests.fakes.runtime import FakeRuntime

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class _Reading:
    """Rows that are read while something else happens."""

    def __init__(self, row: StandingRow) -> None:
        self.row = row
        self.orphans: Orphans | None = None
        self.asked = 0

    async def standing(self, environment_ids: Collection[UUID]) -> tuple[dict[UUID, StandingRow], datetime]:
        """The row; meanwhile the run goes away."""
        assert self.orphans is not None
        for environment_id in environment_ids:
            self.asked += 1
            self.orphans.notice(Observation(Ref(environment_id, self.row.slug, 1), Sight.ABSENT, NOW))
        return {self.row.id: self.row}, NOW


async def test_a_run_that_goes_away_while_its_row_is_read_ends_no_sweep() -> None:
    row = StandingRow(uuid4(), "lab-k7q2mx", 1, Phase.RUNNING.value, 1, 1, None, NOW, 3600, 0)
    reading = _Reading(row)
    orphans = reading.orphans = Orphans(cast(Recorder, reading), FakeRuntime())
    orphans.notice(Observation(Ref(row.id, row.slug, 1), Sight.RUNNING, NOW))
    await orphans.sweep()
    await orphans.sweep()
    assert reading.asked == 1


class _Clocked:
    """One row that stays as it is, and a clock."""

    def __init__(self, row: StandingRow) -> None:
        self.row = row
        self.now = NOW

    async def standing(self, environment_ids: Collection[UUID]) -> tuple[dict[UUID, StandingRow], datetime]:
        """The row and the time."""
        return dict.fromkeys(environment_ids, self.row), self.now


class _Stopping(FakeRuntime):
    """Notes what it is asked to stop and to remove, of runs it does not have."""

    async def stop(self, ref: Ref) -> None:
        self.stops.append(ref)


async def test_a_run_newer_than_its_row_is_stopped_after_the_grace_alone_and_never_removed() -> None:
    row = StandingRow(uuid4(), "lab-k7q2mx", 2, Phase.STOPPED.value, 1, 1, None, NOW, 3600, 0)
    rows, runtime = _Clocked(row), _Stopping()
    orphans = Orphans(cast(Recorder, rows), runtime, grace_seconds=600)
    older, newer = Ref(row.id, row.slug, 1), Ref(row.id, row.slug, 3)
    for ref in (older, newer):
        orphans.notice(Observation(ref, Sight.RUNNING, NOW))
    await orphans.sweep()
    # The database may have been set back to before it began.
    assert runtime.stops == [older]
    rows.now += timedelta(seconds=599)
    await orphans.sweep()
    assert newer not in runtime.stops
    rows.now += timedelta(seconds=1)
    await orphans.sweep()
    assert newer in runtime.stops
    orphans.notice(Observation(newer, Sight.EXITED, NOW))
    await orphans.sweep()
    assert runtime.removed == []


class _WithLeftovers:
    """Has one workspace, and notes what it is asked to remove."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.removed: list[tuple[Ref, bool]] = []
        self.cleared: list[Ref] = []

    async def workspaces(self) -> tuple[Workspace, ...]:
        """The one."""
        return (self.workspace,)

    async def clear_unused(self) -> None:
        """Nothing is shared."""

    async def clear_secrets(self, _workspace: Workspace) -> None:
        """There are none."""

    async def clear_secret(self, ref: Ref) -> None:
        """Only noted."""
        self.cleared.append(ref)

    async def remove(self, ref: Ref, *, workspace: bool) -> None:
        """Only noted."""
        self.removed.append((ref, workspace))


SOON_AFTER, LONG_AFTER = NOW + timedelta(minutes=5), NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("gone_at", "asked", "made_at", "is_copy", "removed"),
    [
        (NOW, True, None, False, True),
        (NOW, True, SOON_AFTER, False, True),
        # Somebody brought it back from a backup, for a person who regrets it.
        (NOW, True, LONG_AFTER, False, False),
        (NOW, True, SOON_AFTER, True, False),
        (NOW, False, SOON_AFTER, False, False),
        (None, True, None, False, False),
    ],
)
async def test_a_workspace_that_came_back_after_its_owner_had_it_removed_goes_again(
    gone_at: datetime | None, asked: bool, made_at: datetime | None, is_copy: bool, removed: bool
) -> None:
    phase = Phase.GONE if gone_at else Phase.DELETING
    row = StandingRow(uuid4(), "lab-k7q2mx", 2, phase.value, 1, 1, gone_at, NOW, 3600, 0, asked)
    runtime = _WithLeftovers(Workspace(row.id, row.slug, made_at, is_copy))
    orphans = Orphans(cast(Recorder, _Clocked(row)), cast(Runtime, runtime), grace_seconds=0)
    await orphans.sweep()
    assert runtime.removed == [], "seen once, it may be about to go"
    await orphans.sweep()
    assert runtime.removed == ([(Ref(row.id, row.slug, 2), True)] if removed else [])


@pytest.mark.parametrize(
    ("phase", "is_settled", "since", "cleared"),
    [
        (Phase.STOPPED, True, NOW - timedelta(minutes=1), True),
        (Phase.FAILED, True, NOW - timedelta(minutes=59), True),
        # Nobody was frozen for so long, and thousands that rest are not asked for again and again.
        (Phase.STOPPED, True, NOW - timedelta(minutes=61), False),
        # It is about to begin, with that secret perhaps.
        (Phase.STOPPED, False, NOW, False),
        (Phase.RUNNING, True, NOW, False),
    ],
)
async def test_a_secret_that_was_made_too_late_for_a_run_goes(
    phase: Phase, is_settled: bool, since: datetime, cleared: bool
) -> None:
    row = StandingRow(
        uuid4(), "lab-k7q2mx", 2, phase.value, 1, int(is_settled), None, NOW, 3600, 0, False, since
    )  # fmt: skip
    runtime = _WithLeftovers(Workspace(row.id, row.slug, NOW))
    orphans = Orphans(cast(Recorder, _Clocked(row)), cast(Runtime, runtime), grace_seconds=0)
    await orphans.sweep()
    assert runtime.cleared == ([Ref(row.id, row.slug, 2)] if cleared else [])
