"""One environment on its own page: facts, why it ended, how it is separated, what it uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cmbcluster.domain.images import ImageSource
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import PythonSource
from cmbcluster.domain.tiers import GIB, Size
from cmbcluster.domain.views import EnvironmentView, LimitsView, ProtectionView, UsageView
from cmbcluster.web.addresses import address
from cmbcluster.web.rows import STOPPED_BECAUSE
from cmbcluster.web.words import (
    bytes_words,
    cpu,
    digest_words,
    epoch,
    gib,
    hours_words,
    plural,
    seconds_words,
    sentence,
    size_words,
    without_stop,
)

MEGABYTE = 1_000_000
OWN_APPLICATION = "custom"
TAIL_LINES = 40
BAD_WORDS = ("error", "exception", "traceback", "killed", "fatal", "critical")


@dataclass(frozen=True)
class About:
    """The facts beside the page."""

    address: str = ""
    address_words: str = ""
    digest: str = ""
    digest_words: str = ""
    image: str = ""
    image_size: str = ""
    is_on_nodes: bool = False
    packages: str = ""
    python: str = ""
    as_of: str = ""
    command: str = ""
    listens: str = ""
    stops_after: str = ""
    started_at: float = 0.0
    took: str = ""
    asked_at: float = 0.0
    created_at: float = 0.0
    last_seen_at: float = 0.0
    workspace: str = ""
    workspace_of: str = ""
    workspace_percent: int = 0
    workspace_tone: str = ""
    measured_at: float = 0.0
    warn_at: float = 0.0
    last_warn_at: float = 0.0
    extends_to: float = 0.0
    can_update: bool = False
    has_previous: bool = False


@dataclass(frozen=True)
class TailLine:
    """One of the last lines of the log."""

    text: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Why:
    """Why it does not run, and what can be done about it."""

    what: str = ""
    then: str = ""
    bad: bool = False
    bigger: str = ""  # id of the next size, when more memory would help
    bigger_words: str = ""
    bigger_note: str = ""
    edit: str = ""  # address of the form with what it was made of, when its person wrote that
    report: str = ""
    tail: list[TailLine] = field(default_factory=list)


@dataclass(frozen=True)
class Protection:
    """How far it is separated from this machine."""

    level: str = ""
    tone: str = ""
    says: str = ""
    limits: str = ""
    missing: str = ""
    mend: str = ""


def about(view: EnvironmentView, limits: LimitsView, now: datetime) -> About:
    """The facts of one environment."""
    most = limits.limits.workspace_bytes
    packages = view.source if isinstance(view.source, PythonSource) else None
    image = view.source if isinstance(view.source, ImageSource) else None
    used = view.workspace_bytes
    percent = min(100, round(100 * used / most)) if used is not None and most else 0
    took = (view.running_since - view.asked_at).total_seconds() if view.running_since else 0.0
    end = epoch(view.deadline_at)
    at_rest = view.phase.value in ("stopped", "failed")
    return About(
        address=view.address,
        address_words=view.address.partition("://")[2],
        digest=view.image.digest if view.image else view.lock_digest,
        digest_words=digest_words(view.image.digest if view.image else view.lock_digest),
        image=image.reference if image else "",
        image_size=view.image.size_words if view.image else "",
        is_on_nodes=bool(view.image and view.image.tag_on_nodes),
        packages=plural(view.lock_packages, "package") if view.lock_packages else "",
        python=packages.python if packages else "",
        as_of=packages.as_of if packages else "",
        command=" ".join(view.program.command),
        listens=f"port {view.program.port}, {view.program.health_path}",
        stops_after=hours_words(round(view.uptime_seconds / 60) * 60),
        started_at=epoch(view.running_since),
        took=f", after {seconds_words(took)}" if took > 0 else "",
        asked_at=epoch(view.asked_at),
        created_at=epoch(view.created_at),
        last_seen_at=epoch(view.last_seen_at),
        workspace=bytes_words(used) if used is not None else "",
        workspace_of=bytes_words(most),
        workspace_percent=percent,
        workspace_tone="bad" if percent >= 100 else "warn" if percent >= 85 else "",
        measured_at=epoch(view.workspace_measured_at),
        warn_at=_still_to_come(end - 900, now),
        last_warn_at=_still_to_come(end - 300, now),
        extends_to=epoch(view.extends_to),
        can_update=at_rest,
        has_previous=view.has_previous_run,
    )


def _still_to_come(moment: float, now: datetime) -> float:
    """The moment, or 0 when it has passed."""
    return moment if moment > now.timestamp() else 0.0


def why(view: EnvironmentView, limits: LimitsView) -> Why:
    """Why an environment rests: nothing for one that does not."""
    if view.phase.value not in ("stopped", "failed"):
        return Why()
    bad = view.phase.value == "failed"
    reason = view.reason
    if reason is None:
        return Why("It failed." if bad else "It is stopped.", "Start it again when you like.", bad)
    what = sentence(reason.what) if bad or reason.code not in STOPPED_BECAUSE else STOPPED_BECAUSE[reason.code] + "."
    bigger = _bigger(view, limits) if reason.code is StopReason.MEMORY else None
    return Why(
        what=without_stop(what),
        then=reason.then,
        bad=bad,
        bigger=bigger.id if bigger else "",
        bigger_words=f"Start with {bytes_words(bigger.memory_bytes)}" if bigger else "",
        bigger_note=f"Your tier allows up to {bytes_words(limits.limits.memory_bytes)}." if bigger else "",
        edit=edit_address(view) if bad else "",
        report=_report(view),
        tail=[TailLine(line, _tone(line)) for line in reason.log_tail.splitlines()[-TAIL_LINES:]],
    )


def edit_address(view: EnvironmentView) -> str:
    """Where a person changes what they wrote; empty for an application of the catalogue's own making."""
    if view.application_id != OWN_APPLICATION:
        return ""
    return address("/catalogue", **{"launch": view.application_id, "from": view.id})


def _bigger(view: EnvironmentView, limits: LimitsView) -> Size | None:
    """The next size with more memory that the tier allows."""
    return next((size for size in limits.sizes if size.memory_bytes > view.memory_bytes), None)


def _tone(line: str) -> str:
    lower = line.lower()
    if any(word in lower for word in BAD_WORDS):
        return "e"
    return "w" if "warn" in lower else ""


def _report(view: EnvironmentView) -> str:
    """What an admin needs to help: times, sizes and log lines; no keys, no data."""
    reason = view.reason
    lines = [
        f"Environment {view.name} ({view.id}), run {view.generation}",
        f"Application {view.application_id}, {size_words(view.cpu_millis, view.memory_bytes)}",
        _made_of(view),
        f"Phase {view.phase.value} since {view.phase_since.isoformat(timespec='seconds')}",
    ]
    for stage in view.stages:
        if stage.started_at is not None:
            until = stage.ended_at or view.phase_since
            took = seconds_words(max(0.0, (until - stage.started_at).total_seconds()))
            lines.append(f"  {stage.stage.value}: {took}{' failed' if stage.failed else ''}")
    if reason is not None:
        lines += [f"Reason {reason.code.value}: {reason.what} {reason.then}", "", reason.log_tail]
    return "\n".join(lines)


def _made_of(view: EnvironmentView) -> str:
    if isinstance(view.source, ImageSource):
        return f"Image {view.source.reference}, digest {(view.image and view.image.digest) or 'none'}"
    return f"Lock {view.lock_digest or 'none'}, Python {view.source.python}"


LEVELS: dict[str, tuple[str, str, str]] = {
    "own-network": ("Own network", "ok", "It can reach the internet and nothing on this machine."),
    "pod": ("Own pod", "ok", "It has no rights in the cluster, and the cluster's network rules say what it can reach."),
    "sandbox": ("Sandbox", "warn", "It sees its own files only, and shares this machine's network."),
    "none": ("No separation", "bad", "It runs as a plain process of this machine."),
}
LIMITS_BY: dict[str, str] = {
    "systemd": "Memory, CPU and processes are limited by systemd.",
    "cgroup": "Memory, CPU and processes are limited by the kernel.",
    "pod": "Memory and CPU are limited by the cluster.",
    "measured": "Memory is measured and it is stopped when it takes too much; CPU is not limited.",
}


def protection(view: ProtectionView | None) -> Protection:
    """How far an environment is separated, in words."""
    if view is None:
        return Protection()
    level, tone, says = LEVELS.get(view.level, (view.level, "warn", ""))
    return Protection(level, tone, says, LIMITS_BY.get(view.limits_by, ""), view.missing, view.mend)


class Meter:
    """Turns counters into rates, from one measurement to the next."""

    def __init__(self) -> None:
        self._last: UsageView | None = None

    def sample(self, usage: UsageView | None) -> tuple[dict[str, Any], dict[str, str]]:
        """Numbers for the charts and their words; both empty when nothing was measured."""
        last, self._last = self._last, usage
        if usage is None:
            return {}, {}
        received = _rate(last, usage, "received_bytes")
        sent = _rate(last, usage, "sent_bytes")
        cores = usage.cpu_millis / 1000 if usage.cpu_millis is not None else None
        memory = usage.memory_bytes / GIB if usage.memory_bytes is not None else None
        values = {"at": epoch(usage.measured_at), "cpu": cores, "memory": memory, "received": received, "sent": sent}
        words = {
            "cpu": f"{cores:.1f}" if cores is not None else "",
            "memory": f"{memory:.1f}" if memory is not None else "",
            "received": _speed(received),
            "sent": _speed(sent),
        }
        return values, words


def _rate(last: UsageView | None, usage: UsageView, name: str) -> float | None:
    """Megabytes a second between two measurements; None without two, or after a restart."""
    before, after = getattr(last, name, None), getattr(usage, name)
    if last is None or before is None or after is None or after < before:
        return None
    seconds = (usage.measured_at - last.measured_at).total_seconds()
    return float(after - before) / MEGABYTE / seconds if seconds > 0 else None


def _speed(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def usage_limits(view: EnvironmentView) -> dict[str, str]:
    """The words beside the figures."""
    return {"cpu_of": f"of {cpu(view.cpu_millis)}", "memory_of": f"of {gib(view.memory_bytes)} GiB"}
