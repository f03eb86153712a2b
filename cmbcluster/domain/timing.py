"""How long things usually take: medians of what was measured, or nothing at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from uuid import UUID

from cmbcluster.domain.lifecycle import Stage

RUNS_COUNTED = 20


@dataclass(frozen=True)
class Measured:
    """One ended stage of one run."""

    environment_id: UUID
    run: int
    stage: Stage
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True)
class Usual:
    """Medians in seconds. ``start_seconds`` is click to answer; None without a launch that got there."""

    start_seconds: float | None
    stage_seconds: dict[Stage, float]


def usual(measured: Iterable[Measured]) -> Usual:
    """The medians over the newest RUNS_COUNTED runs that reached the port's answer."""
    runs: dict[tuple[UUID, int], list[Measured]] = defaultdict(list)
    for one in measured:
        runs[(one.environment_id, one.run)].append(one)
    complete = [stages for stages in runs.values() if any(s.stage is Stage.PORT for s in stages)]
    complete.sort(key=lambda stages: max(s.ended_at for s in stages), reverse=True)
    totals: list[float] = []
    durations: dict[Stage, list[float]] = defaultdict(list)
    for stages in complete[:RUNS_COUNTED]:
        began = min(s.started_at for s in stages)
        totals.append((max(s.ended_at for s in stages) - began).total_seconds())
        for s in stages:
            durations[s.stage].append((s.ended_at - s.started_at).total_seconds())
    return Usual(median(totals) if totals else None, {stage: median(d) for stage, d in durations.items()})
