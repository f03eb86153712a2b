"""How a pod ended, in two sentences for its owner.

The words follow from what the cluster recorded in the pod, never from a guess. Whether it may
be started again is for its owner or the controller to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.packages import sentences
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.runtime.kubernetes import hopeless, install, status
from cmbcluster.runtime.kubernetes.hopeless import Verdict, Warned
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.packages import MOUNT
from cmbcluster.runtime.kubernetes.status import Pod
from cmbcluster.runtime.port import Ending, Sight
from cmbcluster.runtime.wording import START_AGAIN, duration, exit_words, size

SEE_LOG = "See the last lines of its log."
ASK_OPERATOR = "Ask whoever runs this platform; nothing of yours is wrong."
# The node ends what never answers by itself; this is for what answered it once and then no more.
SILENCE_SECONDS = 60
# Why the cluster itself ended a pod: the reasons of the condition DisruptionTarget.
DISRUPTIONS: dict[str, tuple[StopReason, str, str]] = {
    "PreemptionByScheduler": (
        StopReason.PREEMPTED,
        "It had to make room for something the cluster holds more important.",
        START_AGAIN,
    ),
    "EvictionByEvictionAPI": (
        StopReason.EVICTED,
        "The machine it ran on was emptied, as for maintenance.",
        START_AGAIN,
    ),
    "DeletionByTaintManager": (
        StopReason.NODE_LOST,
        "The machine it ran on stopped answering or was closed to it.",
        START_AGAIN,
    ),
    "DeletionByPodGC": (StopReason.NODE_LOST, "The machine it ran on left the cluster.", START_AGAIN),
    "TerminationByKubelet": (
        StopReason.EVICTED,
        "The machine it ran on ran short of something or was shut down, and ended it.",
        START_AGAIN,
    ),
}
TAKEN_AWAY = ("Somebody deleted it in the cluster.", START_AGAIN)
_NOT_STARTED = re.compile(r'exec: \\?"(.+?)\\?": (.+?)(?:: unknown)?$')
_NO_BUILD = re.compile(rf"{MOUNT}/builds/\w+/bin/python.*no such file", re.DOTALL)
_OWN_PACKAGES = re.compile(r'EmptyDir volume "packages" exceeds')
_DISK = re.compile(r"ephemeral[- ](?:local )?storage|emptyDir", re.IGNORECASE)
_NODE_SHORT = re.compile(r"node (?:was low on|had condition)", re.IGNORECASE)


def of_pod(pod: Pod, log_tail: str) -> Ending:
    """The ending of a pod that is over."""
    reason, what, then = _words(pod, log_tail)
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
    return Ending(reason, what, then, log_tail, code if isinstance(code, int) else None, ended_at)


def of_disruption(pod: Pod) -> Ending | None:
    """The ending of a pod that the cluster took away, if it says so."""
    found = status.condition(pod, "DisruptionTarget")
    if found.get("status") != "True" or found.get("reason") not in DISRUPTIONS:
        return None
    reason, what, then = DISRUPTIONS[found["reason"]]
    return Ending(reason, what, then, ended_at=status.moment(found.get("lastTransitionTime")) or datetime.now(UTC))


def of_taking(pod: Pod) -> Ending | None:
    """Why the cluster is taking away a pod that ran, while the pod still says so: soon nobody else knows."""
    return of_disruption(pod) if status.is_going(pod) and status.was_ready(pod) else None


def of_deletion(pod: Pod) -> Ending:
    """The ending of a pod that ran and is gone, and not by us."""
    return of_disruption(pod) or Ending(StopReason.TAKEN_AWAY, *TAKEN_AWAY, ended_at=datetime.now(UTC))


def misses_packages(pod: Pod) -> bool:
    """Whether it could not be started because the volume of packages does not hold its own (any more)."""
    ended = status.state(status.program(pod), "terminated")
    message = str(ended.get("message", ""))
    return ended.get("reason") in ("StartError", "ContainerCannotRun") and bool(_NO_BUILD.search(message))


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
    return Verdict(StopReason.NEVER_READY, _never_ready(pod), SEE_LOG, began, 0, "")


def _never_ready(pod: Pod) -> str:
    within = duration(status.ready_within_seconds(pod))
    return f"It started, but nothing answered on port {status.port(pod)} within {within}."


def stopped(pod: Pod, log_tail: str) -> Ending:
    """The ending of a pod that we are asked to stop."""
    ended_at = datetime.now(UTC)
    if not status.was_ready(pod):
        return Ending(
            StopReason.CANCELLED, "It was stopped before it was ready.", START_AGAIN, log_tail, None, ended_at
        )
    return Ending(StopReason.ASKED, "It was stopped.", START_AGAIN, log_tail, None, ended_at)


def _words(pod: Pod, log_tail: str) -> tuple[StopReason, str, str]:
    told = pod.get("status") or {}
    if told.get("reason") == "Evicted" and _OWN_PACKAGES.search(str(told.get("message", ""))):
        what = f"Its packages take more than the {size(status.own_packages_bytes(pod))} that they may take here."
        return StopReason.DISK_FULL, what, "Ask whoever runs this platform to let them take more."
    if told.get("reason") == "Evicted" and _is_own_limit(str(told.get("message", ""))):
        what = "It wrote more outside of its workspace than it may, and was stopped."
        return StopReason.DISK_FULL, what, "Write large files into the workspace, then start it again."
    disruption = of_disruption(pod)
    if disruption is not None:
        return disruption.reason, disruption.what, disruption.then
    if told.get("reason") == "Evicted":
        return DISRUPTIONS["TerminationByKubelet"]
    if told.get("reason") and not status.program(pod):
        # The node refused it after the scheduler had chosen it: the two saw the node differently.
        return StopReason.NO_ROOM, f"The machine chosen for it refused it: {told['reason']}.", START_AGAIN
    installing = status.state(status.installer(pod), "terminated")
    if installing and installing.get("exitCode"):
        return _of_installer(pod, installing, log_tail)
    return _of_program(pod, log_tail)


def _is_own_limit(message: str) -> bool:
    """Whether it was evicted for a limit of its own; a node that is short of something itself ends whom it can."""
    return bool(_DISK.search(message) and "exceed" in message) and not _NODE_SHORT.search(message)


def _of_installer(pod: Pod, ended: Json, log_tail: str) -> tuple[StopReason, str, str]:
    if ended.get("reason") == "OOMKilled":
        what = f"Installing its packages took more than {size(status.memory_bytes(pod))} of memory."
        return StopReason.MEMORY, what, "Start it with more memory. Its workspace is kept."
    if ended.get("exitCode") == install.OTHER_PYTHON:
        has = status.told_by_installer(pod).get("has", "another version")
        what = f"Its packages were chosen for another Python than the platform's image has now ({has})."
        return StopReason.PYTHON_MISSING, what, "Choose Update, which chooses them anew."
    if ended.get("exitCode") == install.NO_UV or ended.get("reason") in ("StartError", "ContainerCannotRun"):
        return StopReason.BUILD_FAILED, "The platform's image cannot install packages.", ASK_OPERATOR
    if ended.get("exitCode") == install.NO_SPACE:
        return _of_full_volume(pod)
    failed = sentences.installing(log_tail)
    if isinstance(failed, PackagesFailed):
        return failed.reason, failed.what, failed.then
    return StopReason.BUILD_FAILED, "The packages could not be installed.", SEE_LOG


def _of_full_volume(pod: Pod) -> tuple[StopReason, str, str]:
    if status.own_packages_bytes(pod):
        return StopReason.DISK_FULL, "The machine chosen for it has no space left for its packages.", ASK_OPERATOR
    what = "The cluster's volume of packages is full, and other environments need all that is in it."
    return StopReason.DISK_FULL, what, "Stop one that has other packages, or ask whoever runs this platform for room."


def _of_program(pod: Pod, log_tail: str) -> tuple[StopReason, str, str]:
    ended = status.state(status.program(pod), "terminated")
    if not ended:
        return StopReason.LOST, "It was ended from outside, and nothing says how.", START_AGAIN
    if ended.get("reason") == "OOMKilled":
        what = f"It used more than {size(status.memory_bytes(pod))} and was stopped."
        return StopReason.MEMORY, what, "Start it with more memory. Its workspace is kept."
    if misses_packages(pod):
        what = "Its packages are not in the cluster's volume any more."
        return StopReason.BUILD_FAILED, what, "Start it again: they are installed anew."
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        return _not_started(str(ended.get("message", "")))
    ready, within_seconds = status.was_ready(pod), status.ready_within_seconds(pod)
    if not ready and _seconds(ended) >= within_seconds and ended.get("exitCode") in (137, 143, 0):
        return StopReason.NEVER_READY, _never_ready(pod), SEE_LOG
    then = SEE_LOG if log_tail.strip() else "It printed nothing. Check the start command."
    return StopReason.EXITED, exit_words(int(ended.get("exitCode") or 0), ready=ready), then


def _not_started(message: str) -> tuple[StopReason, str, str]:
    if "exec format error" in message:
        what = "The image is made for another kind of processor than this cluster has."
        return StopReason.IMAGE_PLATFORM, what, "Use an image that is also built for it."
    match = _NOT_STARTED.search(message.strip())
    if match is None:
        return StopReason.START_FAILED, "It could not be started.", "Check the start command."
    what = f"“{match.group(1)}” could not be started: {match.group(2).strip()}."
    return StopReason.START_FAILED, what, "Check the start command."


def _seconds(ended: Json) -> float:
    began, finished = status.moment(ended.get("startedAt")), status.moment(ended.get("finishedAt"))
    return (finished - began).total_seconds() if began and finished else 0.0
