"""Launches that cannot succeed, as data: what the cluster says, what it means, what helps, and how long to wait.

A rule reads one of five voices: why an image is not pulled, why else a container waits, why the
scheduler finds no place, a warning event, or a refusal of the API server itself. The first rule
that matches speaks. Some troubles pass by themselves, so each rule says for how many seconds it
may go on; within them the sentence is shown as the stage's detail only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import resources
from cmbcluster.runtime.wording import START_AGAIN, showable

ASK_OPERATOR = "Ask whoever runs this platform; nothing of yours is wrong."
PASSED_ON_LENGTH = 300
# What stands where the scheduler would have said something.
NOT_LOOKED_AT = "(no scheduler)"
TRY_LATER = "Stop another environment or choose a smaller size, then start it again."


class Voice(StrEnum):
    """Where the cluster said it."""

    PULL = "pull"
    WAITING = "waiting"
    UNSCHEDULABLE = "unschedulable"
    EVENT = "event"
    REFUSAL = "refusal"


Words = Callable[[tuple[str, ...]], tuple[str, ...]]


@dataclass(frozen=True)
class Rule:
    """``pattern`` is searched in "reason: message"; its groups, put into words, fill the braces of ``what``.

    ``name`` is what the log and the tests call it by.
    """

    name: str
    voice: Voice
    pattern: re.Pattern[str]
    reason: StopReason
    what: str
    then: str
    give_up_after_seconds: float
    words: Words


def _named(groups: tuple[str, ...]) -> tuple[str, ...]:
    """The names of resources, as people call them."""
    return tuple(resources.word(group) for group in groups)


def _passed_on(groups: tuple[str, ...]) -> tuple[str, ...]:
    """Somebody else's words, of a length that a page has room for."""
    text = " ".join(showable(groups[0]).split())
    text = text if len(text) <= PASSED_ON_LENGTH else text[:PASSED_ON_LENGTH].rstrip() + "…"
    return (text if text.endswith((".", "!", "?", "…")) else f"{text}.",)


def _rule(
    name: str, voice: Voice, pattern: str, reason: StopReason, what: str, then: str, give_up_after_seconds: float,
    words: Words = _named,
) -> Rule:  # fmt: skip
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return Rule(name, voice, compiled, reason, what, then, give_up_after_seconds, words)


_EXCEEDED = r"exceeded quota: \S+?, requested: (.+?), used: (.+?), limited: ([^\"]+)"
_QUOTA = "It asked for {0}. The platform's share of the cluster is {1}, and {2}."
RULES: tuple[Rule, ...] = (
    # ---- images ----
    # First what no registry was asked for.
    _rule(
        "image-not-on-machine", Voice.PULL,
        r"^ErrImageNeverPull", StopReason.IMAGE_UNAVAILABLE,
        "The machine chosen for it does not have the image, and no registry is asked for it.",
        "Load the image on every machine of the cluster, or ask whoever runs the platform.", 2,
    ),
    _rule(
        "image-unnamed", Voice.PULL,
        r"^InvalidImageName", StopReason.IMAGE_UNAVAILABLE,
        "The image has no name that could be pulled.", "Check its name and tag.", 2,
    ),
    _rule(
        "image-platform", Voice.PULL,
        r"no match for platform", StopReason.IMAGE_PLATFORM,
        "The image is not made for the kind of processor this cluster has.",
        "Use an image that is also built for it.", 2,
    ),
    # Then what stood in the way of asking.
    _rule(
        "image-no-space", Voice.PULL,
        r"no space left", StopReason.DISK_FULL,
        "The machine chosen for it has no space left for the image.", ASK_OPERATOR, 60,
    ),
    _rule(
        "image-registry-unnamed", Voice.PULL,
        r"no such host|server misbehaving|name resolution|\blookup:", StopReason.IMAGE_UNAVAILABLE,
        "The machine chosen for it finds no registry by that name.",
        "Check the name of the registry, or ask whoever runs the platform whether its machines can look it up.", 60,
    ),
    _rule(
        "image-registry-insecure", Voice.PULL,
        r"gave HTTP response to HTTPS client|does not look like a TLS handshake", StopReason.IMAGE_UNAVAILABLE,
        "The image's registry speaks without encryption, and the cluster's machines insist on it.",
        "Use a registry with HTTPS, or ask whoever runs the platform to allow this one on the machines.", 20,
    ),
    _rule(
        "image-registry-untrusted", Voice.PULL,
        r"x509:|failed to verify certificate|certificate (?:signed by|has expired|is not|verify)",
        StopReason.IMAGE_UNAVAILABLE,
        "The cluster's machines do not trust the certificate of the image's registry.",
        "Ask whoever runs the platform to have the machines trust it, or use another registry.", 20,
    ),
    # Then what the registry answered.
    _rule(
        "image-too-often", Voice.PULL,
        r"\b429\b|too ?many ?requests|pull rate limit", StopReason.IMAGE_UNAVAILABLE,
        "The image's registry is asked too often, and answers nobody here for a while.",
        "Try again later, or use an account at that registry, which may ask more often.", 300,
    ),
    _rule(
        "image-refused", Voice.PULL,
        r"\b401\b|\b403\b|authorization failed|insufficient_scope|no basic auth credentials|\bunauthorized\b|"
        # A machine that may not write a file of the image says it in these words too.
        r"(?<!permission )\bdenied\b", StopReason.IMAGE_REFUSED,
        "The registry does not let this platform pull the image.",
        "Check the name and tag, and the user name and password for that registry.", 5,
    ),
    _rule(
        "image-unknown", Voice.PULL,
        r"not found|manifest unknown|name unknown|NotFound|does not exist",
        StopReason.IMAGE_UNAVAILABLE, "The registry has no such image.", "Check its name and tag.", 5,
    ),
    _rule(
        "image-registry-fails", Voice.PULL,
        r"\b50\d\b|unexpected status", StopReason.IMAGE_UNAVAILABLE,
        "The image's registry answers with an error of its own.", "Try again later, or use another image.", 180,
    ),
    _rule(
        "image-unreachable", Voice.PULL,
        r"^RegistryUnavailable|timeout|timed out|deadline exceeded|connection refused|connection reset|"
        r"no route to host|unreachable|(?<!unexpected )\bEOF\b", StopReason.IMAGE_UNAVAILABLE,
        "The image could not be pulled: its registry does not answer.", "Try again later, or use another image.", 180,
    ),
    _rule(
        # An older kubelet tells the reason now and then only.
        "image-other", Voice.PULL,
        r".", StopReason.IMAGE_UNAVAILABLE,
        "The image could not be pulled.", "Try again later, or use another image.", 180,
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
        "No machine of the cluster has enough {0} free.", TRY_LATER, 180,
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
        "no-scheduler", Voice.UNSCHEDULABLE,
        rf"^{re.escape(NOT_LOOKED_AT)}$", StopReason.NO_ROOM,
        "Nothing in the cluster chooses a machine for it: its scheduler does not work.", ASK_OPERATOR, 300,
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
        "admission-silent", Voice.REFUSAL,
        r"failed calling webhook", StopReason.REFUSED,
        "Something that has to allow whatever is new in the cluster does not answer.", ASK_OPERATOR, 120,
    ),
    _rule(
        "no-right", Voice.REFUSAL,
        r"cannot create resource", StopReason.REFUSED,
        "The platform may not make environments in the cluster.", ASK_OPERATOR, 300,
    ),
    _rule(
        "no-namespace", Voice.REFUSAL,
        r'namespaces "[^"]*" not found', StopReason.REFUSED,
        "The cluster has no place for environments: its namespace is not there.", ASK_OPERATOR, 300,
    ),
    _rule(
        "admission", Voice.REFUSAL,
        r"(?:admission webhook \S+|ValidatingAdmissionPolicy \S+(?: with binding \S+)?) denied (?:the )?request: (.+)",
        StopReason.REFUSED, "A rule of this cluster forbids it: {0}", ASK_OPERATOR, 0, _passed_on,
    ),
    _rule(
        "quota-workspaces", Voice.REFUSAL,
        rf'^persistentvolumeclaims "[^"]*" is forbidden: {_EXCEEDED}', StopReason.QUOTA, _QUOTA,
        "Delete an environment with its workspace that nobody needs any more, then start it again.", 20,
        resources.of_quota,
    ),
    _rule(
        "quota-environments", Voice.REFUSAL,
        rf"(?=.*requested: (?:count/)?pods=){_EXCEEDED}", StopReason.QUOTA, _QUOTA,
        "Stop another environment, then start it again.", 20, resources.of_quota,
    ),
    _rule(
        "quota", Voice.REFUSAL, _EXCEEDED, StopReason.QUOTA, _QUOTA, TRY_LATER, 20, resources.of_quota,
    ),
    _rule(
        "quota-untold", Voice.REFUSAL,
        r"failed quota: \S+?: must specify (.+)", StopReason.REFUSED,
        "The platform's share of the cluster counts {0}, and the platform does not say how much of it is needed.",
        ASK_OPERATOR, 0, resources.of_names,
    ),
    _rule(
        "limit", Voice.REFUSAL,
        r"(?:maximum|minimum) (cpu|memory|storage|ephemeral-storage)[^.]*? is ([\d.]+\w*)",
        StopReason.QUOTA, "The cluster sets a limit of {0} for one environment.", "Choose another size.", 0,
        resources.of_limit,
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
