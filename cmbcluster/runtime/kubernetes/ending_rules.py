"""How pods end, as data: what the cluster recorded, what it means for the owner, and what helps.

The first rule whose ``when`` is so speaks. The words follow from what the pod says, never from a guess, and the last
rule takes what no other knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.packages import sentences
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.runtime.kubernetes import install, status
from cmbcluster.runtime.kubernetes.hopeless_rules import ASK_OPERATOR
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.packages import MOUNT
from cmbcluster.runtime.kubernetes.status import Pod
from cmbcluster.runtime.wording import START_AGAIN, duration, exit_words, size

SEE_LOG = "See the last lines of its log."
CHECK_COMMAND = "Check the start command."
MORE_MEMORY = "Start it with more memory. Its workspace is kept."
_NOT_STARTED = re.compile(r'exec: \\?"(.+?)\\?": (.+?)(?:: unknown)?$')
_FOREIGN = re.compile(r'(?:\S+: )?exec [^\n]+ "?exec format error"?')
_NO_BUILD = re.compile(rf"{MOUNT}/builds/\w+/bin/python.*no such file", re.DOTALL)
_OWN_PACKAGES = re.compile(r'EmptyDir volume "packages" exceeds')
_DISK = re.compile(r"ephemeral[- ](?:local )?storage|emptyDir", re.IGNORECASE)
_NODE_SHORT = re.compile(r"node (?:was low on|had condition)", re.IGNORECASE)
# What a container is told to have ended of when it never began.
_NEVER_BEGAN = ("StartError", "ContainerCannotRun")
Words = tuple[StopReason, str, str]


@dataclass(frozen=True)
class End:
    """A pod that is over, or is taken away, as rules look at it."""

    pod: Pod
    log_tail: str = ""

    @property
    def reason(self) -> str:
        """What the pod as a whole ended of, empty where its containers say it."""
        return str((self.pod.get("status") or {}).get("reason") or "")

    @property
    def message(self) -> str:
        """The cluster's own words for that."""
        return str((self.pod.get("status") or {}).get("message") or "")

    @property
    def disruption(self) -> str:
        """Why the cluster took it away, empty when it did not."""
        found = status.condition(self.pod, "DisruptionTarget")
        return str(found.get("reason", "")) if found.get("status") == "True" else ""

    @property
    def program(self) -> Json:
        """How the application ended, empty when nothing says it."""
        return status.state(status.program(self.pod), "terminated")

    @property
    def failed_installer(self) -> Json:
        """How the installation ended, empty when it did well or there was none."""
        ended = status.state(status.installer(self.pod), "terminated")
        return ended if ended.get("exitCode") else {}

    @property
    def never_ready(self) -> bool:
        """Whether it had all the time it may take and was ended without having answered."""
        if status.was_ready(self.pod) or self.program.get("exitCode") not in (137, 143, 0):
            return False
        began, finished = (status.moment(self.program.get(name)) for name in ("startedAt", "finishedAt"))
        ran_seconds = (finished - began).total_seconds() if began and finished else 0.0
        return ran_seconds >= status.ready_within_seconds(self.pod)

    @property
    def not_started(self) -> str | None:
        """Why the program never began; None when it did."""
        return str(self.program.get("message", "")) if self.program.get("reason") in _NEVER_BEGAN else None


@dataclass(frozen=True)
class EndingRule:
    """``when`` looks at the pod, ``words`` says it. ``name`` is what the log and the tests call it by."""

    name: str
    when: Callable[[End], object]
    words: Callable[[End], Words]


def never_ready(pod: Pod) -> str:
    """The sentence for what runs and does not answer."""
    within = duration(status.ready_within_seconds(pod))
    return f"It started, but nothing answered on port {status.port(pod)} within {within}."


def misses_packages(pod: Pod) -> bool:
    """Whether it could not be started because the volume of packages does not hold its own (any more)."""
    said = End(pod).not_started
    return said is not None and bool(_NO_BUILD.search(said))


def _says(reason: StopReason, what: str | Callable[[End], str], then: str) -> Callable[[End], Words]:
    return lambda end: (reason, what if isinstance(what, str) else what(end), then)


def _disrupted(reason: str) -> Callable[[End], bool]:
    return lambda end: end.disruption == reason


def _exceeds_its_own(end: End) -> bool:
    """Whether it was evicted for a limit of its own; a node that is short of something itself ends whom it can."""
    said = end.message
    is_own = bool(_DISK.search(said) and "exceed" in said) and not _NODE_SHORT.search(said)
    return end.reason == "Evicted" and is_own


def _of_packages(end: End) -> Words:
    """What the installer's own output says, where it says it in words we know."""
    failed = sentences.installing(end.log_tail)
    if isinstance(failed, PackagesFailed):
        return failed.reason, failed.what, failed.then
    return StopReason.BUILD_FAILED, "The packages could not be installed.", SEE_LOG


def _is_foreign(end: End) -> bool:
    """Whether the machine cannot run the program, which runc says in its place where it comes too late to refuse it."""
    if "exec format error" in (end.not_started or ""):
        return True
    return bool(end.program and _FOREIGN.fullmatch(end.log_tail.strip()))


def _named_program(end: End) -> re.Match[str] | None:
    return _NOT_STARTED.search((end.not_started or "").strip())


def _of_named_program(end: End) -> str:
    found = _named_program(end)
    assert found is not None  # noqa: S101 - the rule asks for it first
    return f"“{found.group(1)}” could not be started: {found.group(2).strip()}."


def _exit(end: End) -> str:
    return exit_words(int(end.program.get("exitCode") or 0), ready=status.was_ready(end.pod))


def _other_python(end: End) -> str:
    has = status.told_by_installer(end.pod).get("has", "another version")
    return f"Its packages were chosen for another Python than the platform's image has now ({has})."


RULES: tuple[EndingRule, ...] = (
    EndingRule(
        "own-packages",
        lambda end: end.reason == "Evicted" and _OWN_PACKAGES.search(end.message),
        _says(
            StopReason.DISK_FULL,
            lambda end: (
                f"Its packages take more than the {size(status.own_packages_bytes(end.pod))} that they may take here."
            ),
            "Ask whoever runs this platform to let them take more.",
        ),
    ),
    EndingRule(
        "own-storage",
        _exceeds_its_own,
        _says(
            StopReason.DISK_FULL,
            "It wrote more outside of its workspace than it may, and was stopped.",
            "Write large files into the workspace, then start it again.",
        ),
    ),
    # ---- what the cluster took away ----
    EndingRule(
        "preempted",
        _disrupted("PreemptionByScheduler"),
        _says(
            StopReason.PREEMPTED,
            "It had to make room for something the cluster holds more important.",
            START_AGAIN,
        ),
    ),
    EndingRule(
        "drained",
        _disrupted("EvictionByEvictionAPI"),
        _says(StopReason.EVICTED, "The machine it ran on was emptied, as for maintenance.", START_AGAIN),
    ),
    EndingRule(
        "node-closed",
        _disrupted("DeletionByTaintManager"),
        _says(StopReason.NODE_LOST, "The machine it ran on stopped answering or was closed to it.", START_AGAIN),
    ),
    EndingRule(
        "node-left",
        _disrupted("DeletionByPodGC"),
        _says(StopReason.NODE_LOST, "The machine it ran on left the cluster.", START_AGAIN),
    ),
    EndingRule(
        "node-short",
        # A kubelet may evict without setting the condition.
        lambda end: end.disruption == "TerminationByKubelet" or end.reason == "Evicted",
        _says(
            StopReason.EVICTED,
            "The machine it ran on ran short of something or was shut down, and ended it.",
            START_AGAIN,
        ),
    ),
    EndingRule(
        # The node refused it after the scheduler had chosen it: the two saw the node differently.
        "node-refused",
        lambda end: end.reason and not status.program(end.pod),
        _says(StopReason.NO_ROOM, lambda end: f"The machine chosen for it refused it: {end.reason}.", START_AGAIN),
    ),
    # ---- the installation ----
    EndingRule(
        "install-memory",
        lambda end: end.failed_installer.get("reason") == "OOMKilled",
        _says(
            StopReason.MEMORY,
            lambda end: f"Installing its packages took more than {size(status.memory_bytes(end.pod))} of memory.",
            MORE_MEMORY,
        ),
    ),
    EndingRule(
        "install-python",
        lambda end: end.failed_installer.get("exitCode") == install.OTHER_PYTHON,
        _says(StopReason.PYTHON_MISSING, _other_python, "Choose Update, which chooses them anew."),
    ),
    EndingRule(
        "install-image",
        lambda end: (
            end.failed_installer.get("exitCode") == install.NO_UV or end.failed_installer.get("reason") in _NEVER_BEGAN
        ),
        _says(StopReason.BUILD_FAILED, "The platform's image cannot install packages.", ASK_OPERATOR),
    ),
    EndingRule(
        "install-machine-full",
        lambda end: end.failed_installer.get("exitCode") == install.NO_SPACE and status.own_packages_bytes(end.pod),
        _says(StopReason.DISK_FULL, "The machine chosen for it has no space left for its packages.", ASK_OPERATOR),
    ),
    EndingRule(
        "install-volume-full",
        lambda end: end.failed_installer.get("exitCode") == install.NO_SPACE,
        _says(
            StopReason.DISK_FULL,
            "The cluster's volume of packages is full, and other environments need all that is in it.",
            "Stop one that has other packages, or ask whoever runs this platform for room.",
        ),
    ),
    EndingRule("install-failed", lambda end: end.failed_installer, _of_packages),
    # ---- the program ----
    EndingRule(
        "lost",
        lambda end: not end.program,
        _says(StopReason.LOST, "It was ended from outside, and nothing says how.", START_AGAIN),
    ),
    EndingRule(
        "memory",
        lambda end: end.program.get("reason") == "OOMKilled",
        _says(
            StopReason.MEMORY,
            lambda end: f"It used more than {size(status.memory_bytes(end.pod))} and was stopped.",
            MORE_MEMORY,
        ),
    ),
    EndingRule(
        "packages-gone",
        lambda end: misses_packages(end.pod),
        _says(
            StopReason.BUILD_FAILED,
            "Its packages are not in the cluster's volume any more.",
            "Start it again: they are installed anew.",
        ),
    ),
    EndingRule(
        "program-platform",
        _is_foreign,
        _says(
            StopReason.IMAGE_PLATFORM,
            "The image is made for another kind of processor than this cluster has.",
            "Use an image that is also built for it.",
        ),
    ),
    EndingRule("program-named", _named_program, _says(StopReason.START_FAILED, _of_named_program, CHECK_COMMAND)),
    EndingRule(
        "program-not-started",
        lambda end: end.not_started is not None,
        _says(StopReason.START_FAILED, "It could not be started.", CHECK_COMMAND),
    ),
    EndingRule(
        "never-ready",
        lambda end: end.never_ready,
        _says(StopReason.NEVER_READY, lambda end: never_ready(end.pod), SEE_LOG),
    ),
    EndingRule(
        "exited-silently",
        lambda end: not end.log_tail.strip(),
        _says(StopReason.EXITED, _exit, "It printed nothing. Check the start command."),
    ),
    EndingRule("exited", lambda _: True, _says(StopReason.EXITED, _exit, SEE_LOG)),
)
DISRUPTIONS = {
    "PreemptionByScheduler": "preempted",
    "EvictionByEvictionAPI": "drained",
    "DeletionByTaintManager": "node-closed",
    "DeletionByPodGC": "node-left",
    "TerminationByKubelet": "node-short",
}
# Of a pod that ran and is gone, where no condition said why.
DELETED = EndingRule(
    "taken-away",
    lambda _: True,
    _says(StopReason.TAKEN_AWAY, "Somebody deleted it in the cluster.", START_AGAIN),
)


def rule_of(end: End) -> EndingRule:
    """The first rule that is so."""
    return next(rule for rule in RULES if rule.when(end))


def rule_of_disruption(end: End) -> EndingRule | None:
    """The rule for a pod that the cluster takes away, be it over or not."""
    name = DISRUPTIONS.get(end.disruption)
    return next((rule for rule in RULES if rule.name == name), None)
