"""What stands in the way of a launch, by the rules of those that cannot succeed, and when that has gone on too long.

It reads what the cluster says of a pod, its events and its refusals; what that means is said by the rules alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import pulls, status
from cmbcluster.runtime.kubernetes.hopeless_rules import NOT_LOOKED_AT, RULES, Voice
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.status import Pod

# A scheduler that works says something of a pod within a moment.
SCHEDULER_SECONDS = 20.0


@dataclass(frozen=True)
class Verdict:
    """What a rule says about one launch. ``since`` is when the trouble was first seen, ``rule`` the rule's name."""

    reason: StopReason
    what: str
    then: str
    since: datetime
    give_up_after_seconds: float
    said: str
    rule: str = ""

    def is_final(self, now: datetime, patience: float = 1.0) -> bool:
        """Whether it has gone on for too long. ``patience`` is a factor to the rule's own time."""
        return (now - self.since).total_seconds() >= self.give_up_after_seconds * patience


@dataclass(frozen=True)
class Warned:
    """A warning event about a pod or its claim."""

    reason: str
    message: str
    first_at: datetime


def of_refusal(message: str, since: datetime) -> Verdict:
    """What a refusal of the API server means."""
    found = _match(Voice.REFUSAL, message, since)
    assert found is not None  # noqa: S101 - the last rule of that voice takes everything
    return found


def of_pod(pod: Pod, warnings: Iterable[Warned]) -> Verdict | None:
    """What stands in the way of a launch, or None when nothing does that we know of."""
    scheduled = status.condition(pod, "PodScheduled")
    made_at = status.moment(pod["metadata"].get("creationTimestamp"))
    if made_at is None:
        return None
    if scheduled.get("status") == "False":
        since = status.moment(scheduled.get("lastTransitionTime")) or made_at
        said = str(scheduled.get("message", ""))
        return _of_events(warnings, only_claims=True) or _match(Voice.UNSCHEDULABLE, said, since)
    is_placed = pod["spec"].get("nodeName") or status.program(pod) or status.installer(pod)
    if not scheduled and not is_placed:
        waited_seconds = (datetime.now(UTC) - made_at).total_seconds()
        return _match(Voice.UNSCHEDULABLE, NOT_LOOKED_AT, made_at) if waited_seconds > SCHEDULER_SECONDS else None
    on_node_at = status.moment(scheduled.get("lastTransitionTime")) or made_at
    for container in (status.installer(pod), status.program(pod)):
        waits = status.state(container, "waiting")
        found = _of_waiting(pod, str(container.get("name", "")), waits, on_node_at) if waits else None
        if found is not None:
            return found
    if status.program(pod) and not status.state(status.program(pod), "waiting"):
        return None
    # With volumes and a network it waits for an image or for itself, whatever was in the way before.
    if status.is_true(pod, "PodReadyToStartContainers") or status.state(status.installer(pod), "running"):
        return None
    return _of_events(warnings)


def _of_waiting(pod: Pod, name: str, waits: Json, since: datetime) -> Verdict | None:
    """What the kubelet says of a container that has not begun."""
    reason, message = str(waits.get("reason", "")), str(waits.get("message", ""))
    said = f"{reason}: {message}"
    if reason not in pulls.REASONS:
        return _match(Voice.WAITING, said, since)
    return _match(Voice.PULL, said, since, f"{reason}: {pulls.answer(message, status.image(pod, name))}")


def _of_events(warnings: Iterable[Warned], *, only_claims: bool = False) -> Verdict | None:
    for warning in warnings:
        if only_claims and warning.reason not in ("ProvisioningFailed", "FailedBinding"):
            continue
        found = _match(Voice.EVENT, f"{warning.reason}: {warning.message}", warning.first_at)
        if found is not None:
            return found
    return None


def _match(voice: Voice, said: str, since: datetime, read: str | None = None) -> Verdict | None:
    """What the first rule of that voice says. ``read`` is what is searched instead of all that was said."""
    for rule in RULES:
        if rule.voice is voice and (match := rule.pattern.search(said if read is None else read)):
            what = rule.what.format(*rule.words(match.groups(default="")))
            return Verdict(rule.reason, what, rule.then, since, rule.give_up_after_seconds, said, rule.name)
    return None
