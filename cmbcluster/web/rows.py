"""Environments as lists show them: plain words and numbers, nothing a browser should not know."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cmbcluster.domain.lifecycle import Phase, StopReason
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.web.timeline import current_stage, percent_done, stages_of
from cmbcluster.web.words import (
    STAGES,
    about_words,
    bytes_words,
    epoch,
    hours_words,
    icon_of,
    kind_of,
    phase_glyph,
    phase_word,
    seconds_words,
    size_words,
    without_stop,
)

STOPPED_BECAUSE: dict[StopReason, str] = {
    StopReason.ASKED: "Stopped by you",
    StopReason.CANCELLED: "Launch cancelled by you",
    StopReason.DEADLINE: "Time ran out",
    StopReason.PLATFORM_STOPPED: "Stopped with the platform",
    StopReason.EXITED: "It ended by itself",
}


@dataclass(frozen=True)
class Step:
    """One part of a launch's progress: done, now or wait."""

    state: str
    percent: int


@dataclass(frozen=True)
class EnvRow:
    """One environment in a list. Times are seconds since 1970, 0 for none."""

    id: str = ""
    name: str = ""
    application: str = ""
    application_id: str = ""
    icon: str = "custom"
    size: str = ""
    phase: str = "stopped"
    family: str = ""
    word: str = ""
    turn: bool = False
    kind: str = "rest"
    href: str = ""
    open_href: str = ""
    address: str = ""
    deadline: float = 0.0
    used_percent: int = 0
    used_words: str = ""
    can_extend: bool = False
    stage: str = ""
    usual: str = ""
    since: float = 0.0
    steps: list[Step] = field(default_factory=list)
    step_count: int = 1
    line: str = ""
    line_at: float = 0.0
    note: str = ""
    note_at: float = 0.0
    asked_at: float = 0.0


def environment_path(view: EnvironmentView) -> str:
    """The page of an environment."""
    return f"/environments/{view.id}"


def env_row(view: EnvironmentView, now: datetime) -> EnvRow:
    """One environment as a row."""
    family, word = phase_word(view.phase, view.source)
    kind = kind_of(view.phase)
    used, used_words = _time_used(view, now)
    line, line_at, note, note_at = _lines(view, kind)
    stage, usual, since, steps = _progress(view, kind)
    return EnvRow(
        id=str(view.id),
        name=view.name,
        application=view.application_name,
        application_id=view.application_id,
        icon=icon_of(view.icon),
        size=size_words(view.cpu_millis, view.memory_bytes),
        phase=phase_glyph(view.phase),
        family=family,
        word=word,
        turn=view.phase in (Phase.SCHEDULING, Phase.STARTING),
        kind=kind,
        href=environment_path(view),
        open_href=f"/open/{view.id}",
        address=view.address,
        deadline=epoch(view.deadline_at) if view.phase in (Phase.RUNNING, Phase.UNKNOWN) else 0.0,
        used_percent=used,
        used_words=used_words,
        can_extend=view.can_extend and view.phase is Phase.RUNNING,
        stage=stage,
        usual=usual,
        since=since,
        steps=steps,
        step_count=max(1, len(steps)),
        line=line,
        line_at=line_at,
        note=note,
        note_at=note_at,
        asked_at=epoch(view.asked_at),
    )


def _time_used(view: EnvironmentView, now: datetime) -> tuple[int, str]:
    """How much of its time a running environment has used, in percent and in words."""
    if view.deadline_at is None or view.running_since is None:
        return 0, ""
    whole = (view.deadline_at - view.running_since).total_seconds()
    spent = (now - view.running_since).total_seconds()
    if whole <= 0:
        return 100, "All of its time is used"
    percent = max(0, min(100, round(100 * spent / whole)))
    return percent, f"{seconds_words(max(0.0, spent))} of {hours_words(round(whole / 60) * 60)} used"


def _progress(view: EnvironmentView, kind: str) -> tuple[str, str, float, list[Step]]:
    """Stage in words, what it usually takes, since when it is being launched, steps."""
    if kind != "launching" or not view.stages:
        return "", "", epoch(view.asked_at) if kind == "launching" else 0.0, []
    current = current_stage(view)
    stages = stages_of(view)
    steps = []
    for stage in stages:
        if stage.ended_at is not None:
            steps.append(Step("done", 100))
        elif stage is current:
            steps.append(Step("now", percent_done(stage) or 50))
        else:
            steps.append(Step("wait", 0))
    name = STAGES[current.stage] if current else "Waiting"
    known = all(stage.usual_seconds for stage in stages)
    usual = sum(stage.usual_seconds or 0.0 for stage in stages) if known else 0.0
    return name, f"usually {about_words(usual)}" if usual else "", epoch(view.asked_at), steps


def _lines(view: EnvironmentView, kind: str) -> tuple[str, float, str, float]:
    """Two lines for an environment that does not run: what, when, and what is kept."""
    if kind == "rest":
        why = STOPPED_BECAUSE.get(view.reason.code, without_stop(view.reason.what)) if view.reason else "Stopped"
        kept = f"Workspace {bytes_words(view.workspace_bytes)} kept" if view.workspace_bytes else "Workspace kept"
        return why, epoch(view.phase_since), kept, 0.0
    if kind == "failed":
        what = without_stop(view.reason.what) if view.reason else "It failed"
        return what, 0.0, " · workspace kept", epoch(view.phase_since)
    if kind == "unknown":
        return "It may well be running", 0.0, "", epoch(view.last_seen_at)
    if kind == "stopping":
        return "Ending, its workspace is kept", 0.0, "", 0.0
    if kind == "deleting":
        return "Being removed", 0.0, "", 0.0
    return "", 0.0, "", 0.0
