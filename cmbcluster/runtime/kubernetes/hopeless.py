"""Launches that cannot succeed, as data: what the cluster says, what it means, what helps, and how long to wait.

A rule reads one of four voices: why a container waits, why the scheduler finds no place, a
warning event, or a refusal of the API server itself. The first rule that matches speaks. Some
troubles pass by themselves, so each rule says for how many seconds it may go on; within them
the sentence is shown as the stage's detail only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import status
from cmbcluster.runtime.kubernetes.status import Pod
from cmbcluster.runtime.wording import START_AGAIN

ASK_OPERATOR = "Ask whoever runs this platform; nothing of yours is wrong."
TRY_LATER = "Stop another environment or choose a smaller size, then start it again."


class Voice(StrEnum):
    """Where the cluster said it."""

    WAITING = "waiting"
    UNSCHEDULABLE = "unschedulable"
    EVENT = "event"
    REFUSAL = "refusal"


@dataclass(frozen=True)
class Rule:
    """``pattern`` is searched in "reason: message"; its groups fill the braces of ``what``.

    ``name`` is what the log and the tests call it by.
    """

    name: str
    voice: Voice
    pattern: re.Pattern[str]
    reason: StopReason
    what: str
    then: str
    give_up_after_seconds: float


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


def _rule(
    name: str, voice: Voice, pattern: str, reason: StopReason, what: str, then: str, give_up_after_seconds: float
) -> Rule:
    return Rule(name, voice, re.compile(pattern, re.IGNORECASE | re.DOTALL), reason, what, then, give_up_after_seconds)


_IMAGE = r"(?:ErrImagePull|ImagePullBackOff|ImageInspectError)"
RULES: tuple[Rule, ...] = (
    # ---- images ----
    # First what no registry was asked for: its message holds the name, which may read like an answer of one.
    _rule(
        "image-not-on-machine", Voice.WAITING,
        r"^ErrImageNeverPull", StopReason.IMAGE_UNAVAILABLE,
        "The machine chosen for it does not have the image, and no registry is asked for it.",
        "Load the image on every machine of the cluster, or ask whoever runs the platform.", 2,
    ),
    _rule(
        "image-unnamed", Voice.WAITING,
        r"^InvalidImageName", StopReason.IMAGE_UNAVAILABLE,
        "The image has no name that could be pulled.", "Check its name and tag.", 2,
    ),
    _rule(
        "image-platform", Voice.WAITING,
        rf"{_IMAGE}.*no match for platform", StopReason.IMAGE_PLATFORM,
        "The image is not made for the kind of processor this cluster has.",
        "Use an image that is also built for it.", 2,
    ),
    _rule(
        "image-refused", Voice.WAITING,
        rf"{_IMAGE}.*(?:401 Unauthorized|403 Forbidden|pull access denied|authorization failed|"
        r"insufficient_scope|no basic auth credentials|unauthorized|denied)", StopReason.IMAGE_REFUSED,
        "The registry does not let this platform pull the image.",
        "Check the name and tag, and the user name and password for that registry.", 5,
    ),
    _rule(
        "image-unknown", Voice.WAITING,
        rf"{_IMAGE}.*(?:not found|manifest unknown|NotFound|does not exist)",
        StopReason.IMAGE_UNAVAILABLE, "The registry has no such image.", "Check its name and tag.", 5,
    ),
    _rule(
        "image-no-space", Voice.WAITING,
        rf"{_IMAGE}.*no space left", StopReason.DISK_FULL,
        "The machine chosen for it has no space left for the image.", ASK_OPERATOR, 60,
    ),
    _rule(
        "image-unreachable", Voice.WAITING,
        rf"^{_IMAGE}", StopReason.IMAGE_UNAVAILABLE,
        "The image could not be pulled: its registry does not answer.", "Try again later, or use another image.", 180,
    ),
    # ---- the container itself ----
    _rule(
        "container-secret", Voice.WAITING,
        r'^CreateContainerConfigError.*secret "?([^" ]+)"? not found', StopReason.START_FAILED,
        "Its variables were deleted in the cluster before it had started.", START_AGAIN, 30,
    ),
    _rule(
        "container-root", Voice.WAITING,
        r"^CreateContainerConfigError.*(?:runAsNonRoot|non-numeric user|run as root)",
        StopReason.REFUSED, "The image wants to run as the administrator, which is not allowed here.",
        "Use an image that runs as an ordinary user.", 5,
    ),
    _rule(
        "container-no-command", Voice.WAITING,
        r"^CreateContainerError.*no command specified", StopReason.START_FAILED,
        "The image does not say what is to be started.", "Add a start command, or use an image that has one.", 5,
    ),
    _rule(
        "container-other", Voice.WAITING,
        r"^(?:CreateContainerConfigError|CreateContainerError|RunContainerError)",
        StopReason.START_FAILED, "The machine chosen for it could not start it.", ASK_OPERATOR, 120,
    ),
    # ---- no place ----
    _rule(
        "claim-missing", Voice.UNSCHEDULABLE,
        r'persistentvolumeclaim "?([^" ]+)"? not found', StopReason.VOLUME,
        "Its workspace or the volume of packages is not in the cluster.", ASK_OPERATOR, 20,
    ),
    _rule(
        "claim-unbound", Voice.UNSCHEDULABLE,
        r"unbound immediate PersistentVolumeClaims|didn't find available persistent volumes",
        StopReason.VOLUME, "The cluster has not made a volume for it.", ASK_OPERATOR, 120,
    ),
    _rule(
        "volume-elsewhere", Voice.UNSCHEDULABLE,
        r"volume node affinity conflict|didn't match PersistentVolume's node affinity", StopReason.VOLUME,
        "Its workspace lies where no machine has room for it.", TRY_LATER, 180,
    ),
    _rule(
        "short-of", Voice.UNSCHEDULABLE,
        r"Insufficient (cpu|memory|ephemeral-storage|[\w.-]+/[\w.-]+)", StopReason.NO_ROOM,
        "No machine of the cluster has {0} enough free.", TRY_LATER, 180,
    ),
    _rule(
        "too-many-pods", Voice.UNSCHEDULABLE,
        r"Too many pods", StopReason.NO_ROOM,
        "Every machine of the cluster runs as many environments as it can.", TRY_LATER, 180,
    ),
    _rule(
        "no-such-machine", Voice.UNSCHEDULABLE,
        r"didn't match Pod's node affinity/selector", StopReason.NO_ROOM,
        "The cluster has no machine of the kind this application asks for.", ASK_OPERATOR, 60,
    ),
    _rule(
        "machines-closed", Voice.UNSCHEDULABLE,
        r"were unschedulable|untolerated taint", StopReason.NO_ROOM,
        "The cluster's machines take nothing new at the moment.", ASK_OPERATOR, 180,
    ),
    _rule(
        "no-place", Voice.UNSCHEDULABLE,
        r".", StopReason.NO_ROOM, "The cluster finds no place for it.", ASK_OPERATOR, 300,
    ),
    # ---- volumes ----
    _rule(
        "volume-not-made", Voice.EVENT,
        r"^ProvisioningFailed", StopReason.VOLUME, "The cluster could not make a volume for it.",
        ASK_OPERATOR, 60,
    ),
    _rule(
        "volume-not-mounted", Voice.EVENT,
        r"^(?:FailedMount|FailedAttachVolume|FailedMapVolume)", StopReason.VOLUME,
        "Its volume could not be attached to the machine chosen for it.", START_AGAIN, 180,
    ),
    _rule(
        "volume-none", Voice.EVENT,
        r"^FailedBinding", StopReason.VOLUME, "The cluster has no volume for it.", ASK_OPERATOR, 60,
    ),
    # ---- the pod before its containers ----
    _rule(
        "machine-fails", Voice.EVENT,
        r"^FailedCreatePodSandBox", StopReason.START_FAILED,
        "The machine chosen for it could not prepare it.", ASK_OPERATOR, 180,
    ),
    # ---- refusals ----
    _rule(
        "quota", Voice.REFUSAL,
        r"exceeded quota: (\S+?), requested: (.+?), used: (.+?), limited: ([^\"]+)", StopReason.QUOTA,
        "The platform's share of the cluster is used up: it asked for {1}, and {2} of {3} are in use.", TRY_LATER, 20,
    ),
    _rule(
        "limit", Voice.REFUSAL,
        r"(?:maximum|minimum) (cpu|memory|storage|ephemeral-storage)[^.]*? is ([\w.]+)",
        StopReason.QUOTA, "The cluster sets a limit of {1} of {0} for one environment.", "Choose another size.", 0,
    ),
    _rule(
        "pod-security", Voice.REFUSAL,
        r"violates PodSecurity", StopReason.REFUSED,
        "The cluster's security rules do not allow it.", ASK_OPERATOR, 0,
    ),
    _rule(
        "no-such-class", Voice.REFUSAL,
        r"no PriorityClass|storageclass\S* .*not found", StopReason.REFUSED,
        "The application asks for something this cluster does not have.", ASK_OPERATOR, 0,
    ),
    _rule(
        # A namespace that was made a moment ago has none yet.
        "no-service-account", Voice.REFUSAL,
        r"error looking up service account", StopReason.REFUSED,
        "The cluster's namespace of environments has no service account.", ASK_OPERATOR, 30,
    ),
    _rule("refused", Voice.REFUSAL, r".", StopReason.REFUSED, "The cluster refused it.", ASK_OPERATOR, 0),
)  # fmt: skip
NAMES = {"cpu": "processor time", "memory": "memory", "ephemeral-storage": "temporary storage"}


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
    on_node_at = status.moment(scheduled.get("lastTransitionTime")) or made_at
    for container in (status.installer(pod), status.program(pod)):
        waits = status.state(container, "waiting")
        if waits:
            said = f"{waits.get('reason', '')}: {waits.get('message', '')}"
            found = _match(Voice.WAITING, said, on_node_at)
            if found is not None:
                return found
    if status.program(pod) and not status.state(status.program(pod), "waiting"):
        return None
    # With volumes and a network it waits for an image or for itself, whatever was in the way before.
    if status.is_true(pod, "PodReadyToStartContainers") or status.state(status.installer(pod), "running"):
        return None
    return _of_events(warnings)


def _of_events(warnings: Iterable[Warned], *, only_claims: bool = False) -> Verdict | None:
    for warning in warnings:
        if only_claims and warning.reason not in ("ProvisioningFailed", "FailedBinding"):
            continue
        found = _match(Voice.EVENT, f"{warning.reason}: {warning.message}", warning.first_at)
        if found is not None:
            return found
    return None


def _match(voice: Voice, said: str, since: datetime) -> Verdict | None:
    for rule in RULES:
        if rule.voice is voice and (match := rule.pattern.search(said)):
            groups = [NAMES.get(group, group) for group in match.groups(default="")]
            what = rule.what.format(*groups)
            return Verdict(rule.reason, what, rule.then, since, rule.give_up_after_seconds, said, rule.name)
    return None
