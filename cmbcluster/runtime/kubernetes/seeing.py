"""From a pod to what the controller is told: a sight, the stages so far, and how it ended.

Pure. What a pod does not say is unknown, never stopped.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cmbcluster.domain.lifecycle import Stage
from cmbcluster.domain.views import ProtectionView
from cmbcluster.runtime.kubernetes import manifests, status
from cmbcluster.runtime.kubernetes.happenings import Pull
from cmbcluster.runtime.kubernetes.hopeless import Verdict
from cmbcluster.runtime.kubernetes.names import annotations_of
from cmbcluster.runtime.kubernetes.status import Pod
from cmbcluster.runtime.port import Ending, Endpoint, Observation, Ref, Sight, StageMark

PROTECTION = ProtectionView("pod", "pod", "", "")


def sight_of(pod: Pod) -> Sight:
    """What is seen of a pod that exists."""
    if status.is_going(pod):
        # Its last state says how the process ended, but not that somebody asked for it.
        return Sight.STOPPING
    if status.is_over(pod):
        return Sight.EXITED
    if status.phase(pod) == "Unknown":
        return Sight.UNKNOWN
    program = status.program(pod)
    if not status.state(program, "running"):
        # Ended, and the pod's own word for it comes in a moment; or not begun.
        return Sight.STOPPING if status.state(program, "terminated") else Sight.BUILDING
    if status.is_true(pod, "Ready"):
        return Sight.RUNNING
    if program.get("ready"):
        # The node says that it answers, the cluster says that the node is silent: nobody knows.
        return Sight.UNKNOWN
    return Sight.STARTING


def observation_of(
    pod: Pod, ref: Ref, *, pull: Pull | None = None, verdict: Verdict | None = None, ending: Ending | None = None
) -> Observation:
    """Everything that can be told of a pod."""
    sight = sight_of(pod)
    address = (pod.get("status") or {}).get("podIP") or ""
    began = status.began(pod) is not None
    return Observation(
        ref=ref,
        sight=sight,
        seen_at=datetime.now(UTC),
        endpoint=Endpoint(address, status.port(pod)) if sight is Sight.RUNNING and address else None,
        stages=stages_of(pod, pull, verdict, failed=sight is Sight.EXITED),
        protection=PROTECTION if began else None,
        ending=ending,
    )


def stages_of(pod: Pod, pull: Pull | None, verdict: Verdict | None, *, failed: bool = False) -> tuple[StageMark, ...]:
    """The measured parts of a launch, as exactly as the cluster tells them."""
    made = [_scheduling(pod, has_image=pull is not None and pull.was_there)]
    if pull is not None and not pull.was_there:
        made.append(_pulling(pod, pull))
    installing = _installing(pod)
    if installing is not None:
        made.append(installing)
    made.extend(_beginning(pod, made[-1].ended_at))
    last = made[-1]
    if last.ended_at is None and (verdict is not None or failed):
        made[-1] = StageMark(
            last.stage, last.started_at, datetime.now(UTC) if failed else None, last.done, last.total, last.unit,
            verdict.what if verdict is not None else last.detail, failed,
        )  # fmt: skip
    return tuple(made)


def _scheduling(pod: Pod, *, has_image: bool) -> StageMark:
    made_at = status.moment(pod["metadata"].get("creationTimestamp")) or datetime.now(UTC)
    scheduled = status.condition(pod, "PodScheduled")
    node = pod["spec"].get("nodeName", "")
    if scheduled.get("status") != "True":
        return StageMark(Stage.SCHEDULING, made_at)
    ended_at = status.moment(scheduled.get("lastTransitionTime")) or made_at
    detail = f"on {node}" if node else ""
    if detail and has_image:
        detail += ", which has the image"
    return StageMark(Stage.SCHEDULING, made_at, ended_at, detail=detail)


def _pulling(pod: Pod, pull: Pull) -> StageMark:
    size_bytes = pull.size_bytes
    if size_bytes is None:
        size_bytes = int(annotations_of(pod).get(manifests.IMAGE_BYTES) or 0) or None
    done = size_bytes or 0 if pull.ended_at is not None else 0
    return StageMark(Stage.DOWNLOADING, pull.began_at, pull.ended_at, done, size_bytes, "bytes", "image")


def _installing(pod: Pod) -> StageMark | None:
    installer = status.installer(pod)
    ended = status.state(installer, "terminated")
    found = ended or status.state(installer, "running")
    began_at = status.moment(found.get("startedAt"))
    if began_at is None:
        return None
    total = int(annotations_of(pod).get(manifests.PACKAGE_COUNT) or 0)
    if not ended:
        # Nobody outside of the pod counts them while it goes on, and "0 of 44" would look like standing still.
        return StageMark(Stage.INSTALLING, began_at, detail=f"{total} package{'' if total == 1 else 's'}")
    failed = bool(ended.get("exitCode"))
    cached = status.told_by_installer(pod).get("cached")
    return StageMark(
        Stage.INSTALLING,
        began_at,
        status.moment(ended.get("finishedAt")),
        0 if failed else total,
        total or None,
        "packages",
        "were there already" if cached else "",
        failed,
    )


def _beginning(pod: Pod, after: datetime | None) -> list[StageMark]:
    """The process comes up, then its port answers."""
    if after is None:
        return []
    waits = status.state(status.program(pod), "waiting")
    installing = status.installer(pod)
    installed = status.state(installing, "terminated")
    if installing and (not installed or installed.get("exitCode")):
        return []
    began_at = status.began(pod)
    if began_at is None:
        return [StageMark(Stage.STARTING, after)] if waits or installing else []
    made = [StageMark(Stage.STARTING, min(after, began_at), began_at)]
    if status.is_true(pod, "Ready"):
        answered_at = status.moment(status.condition(pod, "Ready").get("lastTransitionTime"))
        return [*made, StageMark(Stage.PORT, began_at, answered_at or began_at)]
    # Once it has answered, the moment of it is known to nobody any more but to whoever noted it.
    return made if status.was_ready(pod) else [*made, StageMark(Stage.PORT, began_at)]
