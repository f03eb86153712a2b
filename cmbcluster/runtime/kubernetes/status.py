"""Reading what a pod's status says, without judging it.

Everything in a status may be missing. Times have whole seconds; that is how exact a cluster is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cmbcluster.runtime.kubernetes.manifests import INSTALLER, PROGRAM
from cmbcluster.runtime.kubernetes.names import Json

Pod = Mapping[str, Any]


def moment(text: str | None) -> datetime | None:
    """A time of the API server."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def phase(pod: Pod) -> str:
    """Pending, Running, Succeeded, Failed or Unknown."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_over(pod: Pod) -> bool:
    """Whether nothing of the pod runs any more, for good."""
    return phase(pod) in ("Succeeded", "Failed")


def is_going(pod: Pod) -> bool:
    """Whether somebody asked for its end."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def condition(pod: Pod, kind: str) -> Json:
    """One of the pod's conditions, empty when it has not been set."""
    for each in (pod.get("status") or {}).get("conditions") or ():
        if each.get("type") == kind:
            return dict(each)
    return {}


def is_true(pod: Pod, kind: str) -> bool:
    """Whether a condition is positively so."""
    return condition(pod, kind).get("status") == "True"


def program(pod: Pod) -> Json:
    """The status of the application's container, empty before it has one."""
    return _container(pod, "containerStatuses", PROGRAM)


def installer(pod: Pod) -> Json:
    """The status of the container that installs packages, empty when there is none."""
    return _container(pod, "initContainerStatuses", INSTALLER)


def state(container: Mapping[str, Any], kind: str) -> Json:
    """``waiting``, ``running`` or ``terminated`` of a container, empty when it is not in that state."""
    return dict((container.get("state") or {}).get(kind) or {})


def program_spec(pod: Pod) -> Json:
    """What was asked for the application's container."""
    return next(dict(each) for each in pod["spec"]["containers"] if each["name"] == PROGRAM)


def image(pod: Pod, name: str) -> str:
    """The image that was asked for one of the containers, empty when there is no such container."""
    containers = (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    return next((str(each.get("image", "")) for each in containers if each["name"] == name), "")


def port(pod: Pod) -> int:
    """The port the application listens on."""
    return int(program_spec(pod)["ports"][0]["containerPort"])


def ready_within_seconds(pod: Pod) -> int:
    """How long the application may take to answer."""
    return int(program_spec(pod)["startupProbe"]["failureThreshold"]) - 1


def memory_bytes(pod: Pod) -> int:
    """The application's memory limit, as we wrote it: plain bytes."""
    return int(program_spec(pod)["resources"]["limits"]["memory"])


def own_packages_bytes(pod: Pod) -> int:
    """What the environment's own volume of packages may hold, as we wrote it; 0 where it shares one."""
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"] == "packages" and "emptyDir" in volume:
            return int(volume["emptyDir"]["sizeLimit"])
    return 0


def began(pod: Pod) -> datetime | None:
    """When the application's process began."""
    found = program(pod)
    return moment((state(found, "running") or state(found, "terminated")).get("startedAt"))


def was_ready(pod: Pod) -> bool:
    """Whether the application ever answered.

    The condition Ready is false from the beginning; after it was true once, it changes later
    than the process began.
    """
    found = condition(pod, "Ready")
    if found.get("status") == "True":
        return True
    changed, started = moment(found.get("lastTransitionTime")), began(pod)
    return changed is not None and started is not None and changed > started


def told_by_installer(pod: Pod) -> Json:
    """The word the installing program left, empty when there is none."""
    text = state(installer(pod), "terminated").get("message") or ""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _container(pod: Pod, kind: str, name: str) -> Json:
    for each in (pod.get("status") or {}).get(kind) or ():
        if each.get("name") == name:
            return dict(each)
    return {}
