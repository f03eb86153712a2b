"""Usual times are medians of what was measured, and absent when nothing was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cmbcluster.domain.lifecycle import Stage
from cmbcluster.domain.timing import RUNS_COUNTED, Measured, usual

START = datetime(2026, 1, 1, tzinfo=UTC)


def _run(number: int, seconds: float, *, answered: bool = True) -> list[Measured]:
    began = START + timedelta(hours=number)
    half = began + timedelta(seconds=seconds / 2)
    stages = [Measured(UUID(int=1), number, Stage.STARTING, began, half)]
    if answered:
        stages.append(Measured(UUID(int=1), number, Stage.PORT, half, began + timedelta(seconds=seconds)))
    return stages


def test_nothing_measured_says_nothing() -> None:
    assert usual([]).start_seconds is None
    assert usual(_run(1, 10, answered=False)).start_seconds is None


def test_the_median_of_launches_that_got_there() -> None:
    measured = [*_run(1, 10), *_run(2, 20), *_run(3, 100), *_run(4, 5, answered=False)]
    times = usual(measured)
    assert times.start_seconds == 20
    assert times.stage_seconds[Stage.PORT] == 10


def test_only_the_newest_runs_count() -> None:
    measured = [m for number in range(RUNS_COUNTED) for m in _run(number + 10, 2)]
    measured += [m for number in range(5) for m in _run(number, 1000)]
    assert usual(measured).start_seconds == 2
