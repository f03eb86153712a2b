"""Turning rows into the views that leave the services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cmbcluster.db.database import Work
from cmbcluster.db.environments import ListedRow, StandingRow
from cmbcluster.db.models import Environment, LaunchStage, PackageLock
from cmbcluster.domain.contents import Source, source_of
from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import LAUNCHING, Desired, Phase, Stage, StopReason
from cmbcluster.domain.sources import Program, PythonSource
from cmbcluster.domain.tiers import Limits
from cmbcluster.domain.timing import RUNS_COUNTED, Usual, usual
from cmbcluster.domain.uptime import extended
from cmbcluster.domain.views import EnvironmentSummary, EnvironmentView, ProtectionView, ReasonView, StageView
from cmbcluster.errors import QuotaExceeded
from cmbcluster.settings import Settings

MEASURABLE_STAGES = len(Stage)
_NO_TIMES = usual(())
# A member by its value: asking the class takes seven times as long, three times for each row of a list.
_DESIRED = {each.value: each for each in Desired}
_PHASES = {each.value: each for each in Phase}
_AT_END = (Phase.STOPPED, Phase.FAILED, Phase.DELETING, Phase.GONE)
CERTAIN_STAGES = (Stage.STARTING, Stage.PORT)


@dataclass(frozen=True)
class Frame:
    """What the rows of one page share."""

    now: datetime
    limits: Limits
    settings: Settings


def deadline_of(row: Environment | ListedRow | StandingRow) -> datetime | None:
    """When the environment's time is up: derived, so that nothing can disagree with it."""
    if row.running_since is None:
        return None
    return row.running_since + timedelta(seconds=row.uptime_seconds + row.extra_seconds)


async def usual_of(work: Work, application_id: str) -> Usual:
    """What launches of an application usually take, from those measured here."""
    return usual(await work.environments.recent_stages(application_id, RUNS_COUNTED * MEASURABLE_STAGES))


async def listed(work: Work, rows: Sequence[Environment], frame: Frame) -> tuple[EnvironmentView, ...]:
    """Views for a list, in which only those on their way show their stages."""
    return await portraits(work, rows, frame, [row for row in rows if row.phase in LAUNCHING])


def summary(row: ListedRow, frame: Frame) -> EnvironmentSummary:
    """One line of a list."""
    deadline_at = deadline_of(row) if row.phase in (Phase.RUNNING, Phase.UNKNOWN) else None
    return EnvironmentSummary(
        id=row.id,
        name=row.name,
        slug=row.slug,
        address=frame.settings.environment_url(row.slug),
        application_id=row.application_id,
        desired=_DESIRED[row.desired],
        phase=_shown_phase(row),
        phase_since=row.phase_since,
        cpu_millis=row.cpu_millis,
        memory_bytes=row.memory_bytes,
        uptime_seconds=row.uptime_seconds + row.extra_seconds,
        created_at=row.created_at,
        running_since=row.running_since,
        deadline_at=deadline_at,
        can_extend=_extension(row, deadline_at, frame) is not None,
        reason=_reason(row),
        workspace_bytes=row.measured_bytes,
    )


async def portraits(
    work: Work, rows: Sequence[Environment], frame: Frame, staged: Sequence[Environment] | None = None
) -> tuple[EnvironmentView, ...]:
    """Views of several environments with a constant number of queries per application.

    ``staged``: those whose stages are wanted, else all.
    """
    staged = rows if staged is None else staged
    names = await work.applications.names()
    stages = await work.environments.stages_of([(row.id, row.run) for row in staged])
    usuals = {key: await usual_of(work, key) for key in {row.application_id for row in staged}}
    locks: dict[str, PackageLock | None] = {}
    for digest in {row.lock_digest for row in rows if row.lock_digest}:
        locks[digest] = await work.environments.lock_by_digest(digest)
    return tuple(
        _portrait(
            row,
            stages.get(row.id, ()),
            usuals.get(row.application_id, _NO_TIMES),
            names.get(row.application_id, (row.application_id, "custom")),
            locks.get(row.lock_digest or ""),
            frame,
        )
        for row in rows
    )


def _portrait(
    row: Environment,
    stages: tuple[LaunchStage, ...],
    times: Usual,
    application: tuple[str, str],
    lock: PackageLock | None,
    frame: Frame,
) -> EnvironmentView:
    deadline_at = deadline_of(row) if row.phase in (Phase.RUNNING, Phase.UNKNOWN) else None
    extends_to = _extension(row, deadline_at, frame)
    return EnvironmentView(
        id=row.id,
        name=row.name,
        slug=row.slug,
        address=frame.settings.environment_url(row.slug),
        application_id=row.application_id,
        application_name=application[0],
        icon=application[1],
        desired=Desired(row.desired),
        phase=_shown_phase(row),
        phase_since=row.phase_since,
        generation=row.generation,
        cpu_millis=row.cpu_millis,
        memory_bytes=row.memory_bytes,
        uptime_seconds=row.uptime_seconds + row.extra_seconds,
        created_at=row.created_at,
        asked_at=row.asked_at,
        running_since=row.running_since,
        deadline_at=deadline_at,
        last_seen_at=row.last_seen_at,
        can_extend=extends_to is not None,
        extends_to=extends_to,
        reason=_reason(row),
        source=_source(row, lock),
        image=PinnedImage.from_dict(row.image) if row.image else None,
        program=Program.from_dict(row.program),
        lock_digest=row.lock_digest or "",
        lock_packages=lock.packages if lock else 0,
        protection=ProtectionView(**row.protection) if row.protection else None,
        stages=(*(_stage(stage, times) for stage in stages), *_waiting(row, stages, times)),
        workspace_bytes=row.measured_bytes,
        workspace_measured_at=row.measured_at,
        has_previous_run=row.run > 1,
    )


def _source(row: Environment, lock: PackageLock | None) -> Source:
    """The source, with the one Python it is locked to in place of the range it may have allowed."""
    source = source_of(row.source)
    return replace(source, python=lock.python) if lock and isinstance(source, PythonSource) else source


def _shown_phase(row: Environment | ListedRow) -> Phase:
    """The stored phase, except that an accepted wish is shown before the controller acts on it."""
    phase, desired = _PHASES[row.phase], _DESIRED[row.desired]
    if desired is Desired.DELETED and phase is not Phase.GONE:
        return Phase.DELETING
    if desired is Desired.STOPPED and phase not in _AT_END:
        return Phase.STOPPING
    return phase


def _extension(row: Environment | ListedRow, deadline_at: datetime | None, frame: Frame) -> datetime | None:
    if deadline_at is None or row.phase != Phase.RUNNING or row.desired != Desired.RUNNING:
        return None
    try:
        return extended(frame.limits, deadline_at, frame.now, row.extensions_used)
    except QuotaExceeded:
        return None


def _reason(row: Environment | ListedRow) -> ReasonView | None:
    if not row.reason_code:
        return None
    return ReasonView(StopReason(row.reason_code), row.reason_what, row.reason_then, row.reason_log_tail)


def _waiting(row: Environment, stages: tuple[LaunchStage, ...], times: Usual) -> tuple[StageView, ...]:
    """The stages that are certain to come, with what they usually take.

    Whether anything must be downloaded or installed is not known before it begins.
    """
    if row.phase not in LAUNCHING or row.desired != Desired.RUNNING:
        return ()
    begun = {stage.stage for stage in stages}
    coming = [stage for stage in CERTAIN_STAGES if stage not in begun]
    return tuple(
        StageView(stage, None, None, 0, None, "", "", False, times.stage_seconds.get(stage)) for stage in coming
    )


def _stage(row: LaunchStage, times: Usual) -> StageView:
    stage = Stage(row.stage)
    return StageView(
        stage=stage,
        started_at=row.started_at,
        ended_at=row.ended_at,
        done=row.done,
        total=row.total,
        unit=row.unit,
        detail=row.detail,
        failed=row.failed,
        usual_seconds=times.stage_seconds.get(stage),
    )
