"""A launch drawn as a waterfall: what was measured, and what such a stage usually takes.

Solid bars are measured times, hatched ones medians the service gives. Must never draw a
length that neither was measured nor comes from real launches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from cmbcluster.domain.lifecycle import LAUNCHING, Phase, Stage, StopReason
from cmbcluster.domain.views import EnvironmentView, StageView
from cmbcluster.web.words import STAGES, about_words, bytes_words, count, seconds_words

# What a launch goes through here, for the stages that have not begun and so have no record.
EXPECTED = (Stage.QUEUED, Stage.RESOLVING, Stage.DOWNLOADING, Stage.INSTALLING, Stage.STARTING, Stage.PORT)
STEPS_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
TICKS = 5


@dataclass(frozen=True)
class Tick:
    """A line of the axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Lane:
    """One stage. ``a``/``w`` are percent of the axis; a width of 0 draws nothing."""

    name: str
    glyph: str
    family: str
    state: str  # done, now, wait, cut (it was interrupted) or failed
    turn: bool
    a: float
    w: float
    ghost_a: float
    ghost_w: float
    tone: str
    text: str
    took: str
    since: float


@dataclass(frozen=True)
class Waterfall:
    """A whole launch, ready to be drawn."""

    lanes: list[Lane] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    tick: float = 25.0
    head: str = ""
    has_usual: bool = False
    foot: str = ""
    foot_note: str = ""


def stage_words(stage: StageView) -> str:
    """What a stage has done: bytes, packages, or its own detail."""
    if stage.unit == "bytes" and stage.total:
        return f"{bytes_words(stage.done)} of {bytes_words(stage.total)}"
    if stage.unit == "bytes" and stage.done:
        return bytes_words(stage.done)
    if stage.unit == "packages" and stage.total:
        said = f"{count(stage.done)} of {count(stage.total)} packages"
        # Counted to the end and not over: what it does now is all there is to tell.
        more = stage.detail if stage.ended_at is None and stage.done >= stage.total else ""
        return f"{said}, {more}" if more else said
    if stage.unit == "packages" and stage.done:
        return f"{count(stage.done)} packages"
    return stage.detail


def stages_of(view: EnvironmentView) -> tuple[StageView, ...]:
    """The stages with a record and, while it launches, those that are still to come."""
    if view.phase not in LAUNCHING:
        return view.stages
    known = {stage.stage for stage in view.stages}
    order = list(Stage)
    reached = max((order.index(stage) for stage in known), default=-1)
    waiting = tuple(
        StageView(stage, None, None, 0, None, "", "", False, None)
        for stage in EXPECTED
        if stage not in known and order.index(stage) > reached
    )
    return view.stages + waiting


def current_stage(view: EnvironmentView) -> StageView | None:
    """The stage under way, or the one that failed."""
    for stage in reversed(view.stages):
        if stage.started_at is not None and (stage.ended_at is None or stage.failed):
            return stage
    return None


def percent_done(stage: StageView) -> int:
    """How far a stage is by its own count, 0 when it does not count."""
    return min(100, round(100 * stage.done / stage.total)) if stage.total else 0


def waterfall(view: EnvironmentView, now: datetime) -> Waterfall:
    """The launch of ``view`` as seen at ``now``."""
    begun = [s.started_at for s in view.stages if s.started_at is not None]
    if not begun:
        return Waterfall()
    zero = min(begun)
    launching = view.phase in LAUNCHING
    view = replace(view, stages=stages_of(view))
    spans = _spans(view, zero, now, launching)
    end = max((b for _, b, _ in spans), default=1.0)
    end = max(end, max((g for _, _, g in spans), default=0.0), 1.0)
    step = next((s for s in STEPS_SECONDS if end / s <= TICKS), STEPS_SECONDS[-1])
    whole = end * 1.04
    lanes = [_lane(view, s, span, whole) for s, span in zip(view.stages, spans, strict=True)]
    ticks = [Tick(100 * t / whole, _tick_words(t)) for t in range(0, int(end) + 1, step)]
    usual = any(lane.ghost_w for lane in lanes)
    head, foot, note = _words(view, spans, now, launching)
    return Waterfall(lanes, ticks, 100 * step / whole, head, usual, foot, note)


def _tick_words(seconds: int) -> str:
    """A length of whole steps, as short as it can be: there is little room between two ticks."""
    return seconds_words(seconds).replace(".0", "").removesuffix(" 00 s")


def _spans(view: EnvironmentView, zero: datetime, now: datetime, launching: bool) -> list[tuple[float, float, float]]:
    """Start, measured end and usual end of every stage, in seconds since the first."""
    spans: list[tuple[float, float, float]] = []
    reached = 0.0
    for stage in view.stages:
        if stage.started_at is None:
            start, stop = reached, reached
            usual = start + stage.usual_seconds if launching and stage.usual_seconds else start
        else:
            start = (stage.started_at - zero).total_seconds()
            until = stage.ended_at or (now if launching else view.phase_since)
            stop = max(start, (until - zero).total_seconds())
            under_way = launching and stage.ended_at is None
            usual = max(stop, start + stage.usual_seconds) if under_way and stage.usual_seconds else stop
        spans.append((start, stop, usual))
        reached = max(reached, usual)
    return spans


def _lane(view: EnvironmentView, stage: StageView, span: tuple[float, float, float], whole: float) -> Lane:
    start, stop, usual = span
    state = _state(view, stage)
    glyph, family = {
        "done": ("done", "ok"),
        "failed": ("failed", "bad"),
        "cut": ("stopped", ""),
        "wait": ("queued", ""),
        "now": ("scheduling" if stage.stage in (Stage.QUEUED, Stage.SCHEDULING) else "starting", "move"),
    }[state]
    if state == "now" and stage.stage in (Stage.RESOLVING, Stage.DOWNLOADING, Stage.INSTALLING):
        glyph = "pulling"
    name = f"Port {view.program.port} answers" if stage.stage is Stage.PORT else STAGES[stage.stage]
    if stage.started_at is None:
        took = f"usually {about_words(stage.usual_seconds)}" if state == "wait" and stage.usual_seconds else ""
        took = took or ("never" if view.phase is Phase.FAILED else "")
    else:
        took = seconds_words(stop - start)
    text = "" if state == "now" else stage_words(stage)
    ghost = (usual - start) / whole * 100 if usual > stop else 0.0
    return Lane(
        name=name,
        glyph=glyph,
        family=family,
        state=state,
        turn=state == "now" and glyph in ("scheduling", "starting"),
        a=100 * start / whole,
        w=0.0 if stage.started_at is None else 100 * (stop - start) / whole,
        ghost_a=100 * start / whole,
        ghost_w=ghost,
        tone={"failed": "bad", "cut": "q"}.get(state, ""),
        text=text if stage.started_at is not None and stop / whole < 0.6 else "",
        took=took,
        since=stage.started_at.timestamp() if state == "now" and stage.started_at else 0.0,
    )


def _state(view: EnvironmentView, stage: StageView) -> str:
    if stage.failed:
        return "failed"
    if stage.started_at is None:
        return "wait"
    if view.phase not in LAUNCHING and not _came_up(view) and stage is _last_begun(view):
        return "failed" if view.phase is Phase.FAILED and stage.ended_at is None else "cut"
    return "done" if stage.ended_at is not None else "now" if view.phase in LAUNCHING else "cut"


def _came_up(view: EnvironmentView) -> bool:
    """Whether the launch got to its end: the program answered at its port."""
    if view.reason is not None and view.reason.code is StopReason.CANCELLED:
        return False
    return view.phase is Phase.RUNNING or any(
        s.stage is Stage.PORT and s.ended_at is not None and not s.failed for s in view.stages
    )


def _last_begun(view: EnvironmentView) -> StageView | None:
    """The stage a launch was in when it ended: ending it has given it an end of its own."""
    return next((stage for stage in reversed(view.stages) if stage.started_at is not None), None)


def _ended_words(view: EnvironmentView) -> str:
    """How a launch that is over came out."""
    if _came_up(view):
        return "ready"
    if view.phase is Phase.FAILED:
        return "gave up"
    cancelled = view.reason is not None and view.reason.code is StopReason.CANCELLED
    return "cancelled" if cancelled else "ended"


def _words(
    view: EnvironmentView, spans: list[tuple[float, float, float]], now: datetime, launching: bool
) -> tuple[str, str, str]:
    """Head, foot and the note beside the foot."""
    stop = max(b for _, b, _ in spans)
    if view.phase is Phase.FAILED:
        ended = current_stage(view)
        said = stage_words(ended) if ended else ""
        foot = f"{STAGES[ended.stage]}: {said}" if ended and said else ""
        return f"{_ended_words(view)} after {seconds_words(stop)}", foot, ""
    if not launching:
        return f"{_ended_words(view)} after {seconds_words(stop)}", "", ""
    current = current_stage(view)
    left = sum(max(0.0, u - max(s, b)) for s, b, u in spans)
    known = all(s.usual_seconds for s in view.stages if s.ended_at is None)
    late = _late(current, now) if current else ""
    head = f"Ready in about {about_words(left)}" if known and left >= 1 else ""
    if current is None:
        return head, "", ""
    done = stage_words(current)
    return head, f"{STAGES[current.stage]}: {done}" if done else STAGES[current.stage], late


def _late(stage: StageView, now: datetime) -> str:
    """Said once a stage has passed its usual time."""
    if stage.started_at is None or not stage.usual_seconds:
        return ""
    spent = (now - stage.started_at).total_seconds()
    if spent <= max(stage.usual_seconds * 1.2, stage.usual_seconds + 2):
        return ""
    return f"This takes longer than the usual {about_words(stage.usual_seconds)}."
