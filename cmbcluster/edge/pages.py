"""What an environment's own address shows when the environment itself cannot.

Plain HTML without a script, since these pages live on the host of somebody's program. They
must never name an environment to anybody who may not open it.
"""

from __future__ import annotations

from datetime import datetime
from html import escape

from cmbcluster.domain.images import ImageSource
from cmbcluster.domain.lifecycle import LAUNCHING, Phase, Stage
from cmbcluster.domain.views import EnvironmentView, StageView
from cmbcluster.plain import drawings
from cmbcluster.plain.frame import Act, document

_STAGES = {
    Stage.QUEUED: "It is waiting for its turn",
    Stage.SCHEDULING: "A place for it is being found",
    Stage.RESOLVING: "Its packages are being looked up",
    Stage.DOWNLOADING: "Its packages are being downloaded",
    Stage.INSTALLING: "Its packages are being installed",
    Stage.STARTING: "It is starting",
    Stage.PORT: "It has started and we wait for its first answer",
}
_GIB = 1024**3
LAUNCH_REFRESH_SECONDS = 2
UNSEEN_REFRESH_SECONDS = 5


def _clock(at: datetime) -> str:
    """The time of day here, with the full time and zone for those who point at it."""
    local = at.astimezone()
    full = local.strftime("%A %d %B %Y, %H:%M:%S %Z")
    return f'<time datetime="{at.isoformat()}" title="{escape(full)}">{local:%H:%M}</time>'


def _head(environment: EnvironmentView, phase: Phase) -> str:
    family, drawing = drawings.glyph(phase)
    building = "Pulling" if isinstance(environment.source, ImageSource) else "Building"
    word = building if phase is Phase.PULLING else phase.value.capitalize()
    chip = f'<span class="phase {family}">{drawing}{word}</span>'
    return f'<div class="row">{drawings.tile(environment.icon)}{chip}</div>'


def _size(size_bytes: int) -> str:
    """As the dashboard says it."""
    for unit, factor in (("GiB", _GIB), ("MiB", 1024**2), ("KiB", 1024)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes} B"


def _facts(environment: EnvironmentView) -> str:
    cpu = f"{environment.cpu_millis / 1000:g} CPU"
    memory = f"{environment.memory_bytes / _GIB:g} GiB"
    rows = [("Application", escape(f"{environment.application_name} · {cpu} · {memory}"))]
    if environment.workspace_bytes is not None:
        size = _size(environment.workspace_bytes)
        measured = environment.workspace_measured_at
        rows.append(("Workspace", size + (f", measured at {_clock(measured)}" if measured else "")))
    hours, minutes = divmod(environment.uptime_seconds // 60, 60)
    length = " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)
    rows.append(("Runs for", length or f"{environment.uptime_seconds} s"))
    return '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def at_rest(environment: EnvironmentView, *, host: str, home: str) -> bytes:
    """The environment is stopped, is stopping, or has failed."""
    page = f"{home}/environments/{environment.id}"
    reason = environment.reason
    to_home = Act("Go to Home", f"{home}/")
    title, acts, refresh = f"{environment.name} is stopped", (Act("Start again", page, drawings.PLAY), to_home), 0
    say = "Your workspace is kept. Start it again from its page."
    if environment.phase is Phase.FAILED:
        title, acts = f"{environment.name} failed", (Act("See what happened", page), to_home)
        say = "Your workspace is kept. Its page shows the last lines of its log."
    elif environment.phase is Phase.STOPPING:
        title, refresh = f"{environment.name} is stopping", LAUNCH_REFRESH_SECONDS
        acts, say = (Act("See its page", page), to_home), "Your workspace is kept. You can start it again in a moment."
    if reason is not None and environment.phase is not Phase.STOPPING:
        say = f"{escape(reason.what)} {escape(reason.then)}".strip()
    return document(
        title=title,
        head=_head(environment, environment.phase),
        say=say,
        acts=acts,
        host=host,
        home=home,
        facts=_facts(environment),
        refresh=refresh,
    )


def for_guest(environment: EnvironmentView, *, host: str, home: str) -> bytes:
    """Somebody else's environment that does not answer now: its name and its phase, and nothing to press."""
    refresh = UNSEEN_REFRESH_SECONDS
    title, say = f"{environment.name} is not running", "Only its owner can start it."
    phase = environment.phase
    if phase in LAUNCHING:
        title, say = f"{environment.name} is on its way", "This page opens it by itself."
        refresh = LAUNCH_REFRESH_SECONDS
    elif phase in (Phase.RUNNING, Phase.UNKNOWN):
        phase, title = Phase.UNKNOWN, f"We cannot see {environment.name} at the moment"
        say = "It may well be running. This page tries again by itself."
    elif phase is not Phase.STOPPING:
        refresh = 0
    return document(
        title=title,
        head=_head(environment, phase),
        say=say,
        acts=(Act("Go to Home", f"{home}/"),),
        host=host,
        home=home,
        refresh=refresh,
    )


def _under_way(stages: tuple[StageView, ...]) -> StageView | None:
    going = [stage for stage in stages if stage.started_at is not None and stage.ended_at is None]
    return going[-1] if going else None


def _progress(stage: StageView) -> tuple[str, str]:
    """Words and a bar for a stage whose end is known."""
    if not stage.total:
        return "", ""
    if stage.unit == "bytes":
        words = f"{stage.done / 1e6:.0f} of {stage.total / 1e6:.0f} MB"
    else:
        words = f"{stage.done} of {stage.total} {stage.unit}".strip()
    bar = (
        f'<progress max="{stage.total}" value="{min(stage.done, stage.total)}" aria-label="{escape(words)}"></progress>'
    )
    return f", {words}", bar


def launching(environment: EnvironmentView, *, host: str, home: str) -> bytes:
    """The environment is on its way. The page asks again by itself."""
    stage = _under_way(environment.stages)
    now, bar = "It is waiting for its turn", ""
    if stage is not None:
        words, bar = _progress(stage)
        of_image = stage.stage is Stage.DOWNLOADING and isinstance(environment.source, ImageSource)
        now = ("Its image is being pulled" if of_image else _STAGES[stage.stage]) + words
    phase = environment.phase if environment.phase in LAUNCHING else Phase.QUEUED
    return document(
        title=f"{environment.name} is on its way",
        head=_head(environment, phase),
        say=f"{escape(now)}. This page opens it by itself.",
        acts=(Act("See the launch", f"{home}/environments/{environment.id}"), Act("Go to Home", f"{home}/")),
        host=host,
        home=home,
        bar=bar,
        refresh=LAUNCH_REFRESH_SECONDS,
    )


def unseen(environment: EnvironmentView, *, host: str, home: str) -> bytes:
    """It may well be running, but nobody can say where."""
    seen = "" if environment.last_seen_at is None else f" Last seen {_clock(environment.last_seen_at)}."
    return document(
        title=f"We cannot see {environment.name} at the moment",
        head=_head(environment, Phase.UNKNOWN),
        say=f"It may well be running.{seen} This page tries again by itself.",
        acts=(Act("See its page", f"{home}/environments/{environment.id}"), Act("Go to Home", f"{home}/")),
        host=host,
        home=home,
        facts=_facts(environment),
        refresh=UNSEEN_REFRESH_SECONDS,
    )


def not_yours(*, host: str, home: str) -> bytes:
    """Missing and somebody else's, in the same words."""
    return document(
        title="There is no such environment, or it is not yours",
        say="Its address may have a typing mistake in it, or it was deleted.",
        acts=(Act("Go to Home", f"{home}/"),),
        host=host,
        home=home,
    )


def refused(what: str, then: str, *, host: str, home: str, again: str = "") -> bytes:
    """A one-time code that could not be used, or a sign-in that is needed."""
    acts = (Act("Try again", again), Act("Go to Home", f"{home}/")) if again else (Act("Go to Home", f"{home}/"),)
    return document(title=what.rstrip("."), say=escape(then), acts=acts, host=host, home=home)


def no_answer(*, host: str, home: str) -> bytes:
    """The program is there as far as known, and did not answer; or the gate itself could not look."""
    return document(
        title="It did not answer",
        say="The environment did not answer just now. This page tries again by itself; its log is on its page.",
        acts=(Act("Go to Home", f"{home}/"),),
        host=host,
        home=home,
        refresh=UNSEEN_REFRESH_SECONDS,
    )
