"""How a pod ended, in two sentences for its owner.

The words follow from what the cluster recorded in the pod, never from a guess. Whether it may
be started again is for its owner or the controller to decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import hopeless, status
from cmbcluster.runtime.kubernetes.ending_rules import (
    DELETED,
    SEE_LOG,
    End,
    EndingRule,
    never_ready,
    rule_of,
    rule_of_disruption,
)
from cmbcluster.runtime.kubernetes.hopeless import Verdict, Warned
from cmbcluster.runtime.kubernetes.status import Pod
from cmbcluster.runtime.port import Ending, Sight
from cmbcluster.runtime.wording import START_AGAIN, duration

# The node ends what never answers by itself; this is for what answered it once and then no more.
SILENCE_SECONDS = 60


def of_pod(pod: Pod, log_tail: str) -> Ending:
    """The ending of a pod that is over."""
    end = End(pod, log_tail)
    rule = rule_of(end)
    reason, what, then = rule.words(end)
    program = status.state(status.program(pod), "terminated")
    # Of a program whose node vanished the status says for ever that it runs: the installer's end was not its own.
    installer = {} if status.began(pod) is not None else status.state(status.installer(pod), "terminated")
    code = (program or installer).get("exitCode")
    disruption = of_disruption(pod)
    ended_at = (
        status.moment(program.get("finishedAt"))
        or (disruption.ended_at if disruption is not None else None)
        or status.moment(installer.get("finishedAt"))
        or datetime.now(UTC)
    )
    return Ending(reason, what, then, log_tail, code if isinstance(code, int) else None, ended_at, rule.name)


def of_disruption(pod: Pod) -> Ending | None:
    """The ending of a pod that the cluster took away, if it says so."""
    rule = rule_of_disruption(End(pod))
    if rule is None:
        return None
    return _ending(rule, pod, status.moment(status.condition(pod, "DisruptionTarget").get("lastTransitionTime")))


def of_taking(pod: Pod) -> Ending | None:
    """Why the cluster is taking away a pod that ran, while the pod still says so: soon nobody else knows."""
    return of_disruption(pod) if status.is_going(pod) and status.was_ready(pod) else None


def of_deletion(pod: Pod) -> Ending:
    """The ending of a pod that ran and is gone, and not by us."""
    return of_disruption(pod) or _ending(DELETED, pod, None)


def _ending(rule: EndingRule, pod: Pod, at: datetime | None) -> Ending:
    return Ending(*rule.words(End(pod)), ended_at=at or datetime.now(UTC), rule=rule.name)


def verdict(pod: Pod, sight: Sight, warnings: Iterable[Warned], build_seconds: int) -> Verdict | None:
    """What stands in the way of a launch, as it is seen; None when nothing does or it is no launch any more."""
    if sight is Sight.STARTING:
        return _of_silence(pod)
    if sight is not Sight.BUILDING:
        return None
    began = status.moment(status.state(status.installer(pod), "running").get("startedAt"))
    if began is not None and datetime.now(UTC) - began > timedelta(seconds=build_seconds):
        what = f"Installing the packages took longer than {duration(build_seconds)} and was given up."
        return Verdict(StopReason.BUILD_FAILED, what, "Start it again: what was downloaded is kept.", began, 0, "")
    return hopeless.of_pod(pod, warnings)


def _of_silence(pod: Pod) -> Verdict | None:
    """A program that answered the startup probe, which ends with that, and never the one after it."""
    began, within_seconds = status.began(pod), status.ready_within_seconds(pod)
    if began is None or status.was_ready(pod):
        return None
    if datetime.now(UTC) - began <= timedelta(seconds=within_seconds + SILENCE_SECONDS):
        return None
    return Verdict(StopReason.NEVER_READY, never_ready(pod), SEE_LOG, began, 0, "")


def stopped(pod: Pod, log_tail: str) -> Ending:
    """The ending of a pod that we are asked to stop."""
    ended_at = datetime.now(UTC)
    if not status.was_ready(pod):
        return Ending(
            StopReason.CANCELLED, "It was stopped before it was ready.", START_AGAIN, log_tail, None, ended_at
        )
    return Ending(StopReason.ASKED, "It was stopped.", START_AGAIN, log_tail, None, ended_at)
