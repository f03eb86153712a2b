"""How much is missing where the scheduler finds no place, and what would fit.

Figures of machines need the right to list nodes, which a platform may lack; then nothing is
said. Only environments of ours are counted as using a machine, so what is called free is the
most there can be, and the words say so. A machine that would not take the pod for another reason
is no room at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cmbcluster.runtime.kubernetes import status
from cmbcluster.runtime.kubernetes.quantities import amount
from cmbcluster.runtime.kubernetes.resources import bare, is_measured, said
from cmbcluster.runtime.kubernetes.status import Pod

_SHORT = re.compile(r"Insufficient ([\w./-]+)")
# What a machine is closed with that somebody cordoned off.
_CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def shortage(pod: Pod, told: str, nodes: Iterable[Mapping[str, Any]], pods: Iterable[Pod]) -> tuple[str, str] | None:
    """Two sentences: what is short and by how much, and what would fit. None when that cannot be said."""
    short = list(dict.fromkeys(name.rstrip(".") for name in _SHORT.findall(told)))
    free = _free(pod, nodes, pods)
    if not short or not free:
        return None
    wanted = _requests(pod)
    name = next((each for each in short if each in wanted), None)
    if name is None:
        return None
    most = max(each.get(name, 0.0) for each in free)
    # The application is sold by its limits; what it asks for may be a part of them.
    share = _limits(pod).get(name, wanted[name]) / wanted[name] if wanted[name] else 1.0
    needs, most, missing = (max(0.0, value) * share for value in (wanted[name], most, wanted[name] - most))
    asks = f"It asks for {said(name, needs)}"
    if not missing:
        # Others use it, and we are not shown by how much.
        return f"{asks}, and no machine of the cluster has that free now.", _then(None)
    are = "is" if missing == 1 and not is_measured(name) else "are"
    what = f"{asks}. The roomiest machine has at most {bare(name, most)} free, so {bare(name, missing)} {are} missing."
    return what, _then(said(name, most) if most > 0 else None)


def _then(fits: str | None) -> str:
    if fits is None:
        return "Stop another environment or choose a smaller size, then start it again."
    return f"Choose a size with at most {fits}, or stop another environment."


def _free(pod: Pod, nodes: Iterable[Mapping[str, Any]], pods: Iterable[Pod]) -> list[dict[str, float]]:
    """What each machine that would take the pod, had it the room, has left."""
    wanted = pod["spec"].get("nodeSelector") or {}
    used: dict[str, dict[str, float]] = {}
    for other in pods:
        node = other["spec"].get("nodeName")
        if node and not status.is_over(other):
            sums = used.setdefault(node, {})
            for name, value in _requests(other).items():
                sums[name] = sums.get(name, 0.0) + value
    found = []
    for each in nodes:
        labels = each["metadata"].get("labels") or {}
        if any(labels.get(k) != v for k, v in wanted.items()) or is_closed(pod, each):
            continue
        taken = used.get(each["metadata"]["name"], {})
        allocatable = each.get("status", {}).get("allocatable") or {}
        found.append({name: (amount(text) or 0.0) - taken.get(name, 0.0) for name, text in allocatable.items()})
    return found


def is_closed(pod: Pod, node: Mapping[str, Any]) -> bool:
    """Whether a machine keeps the pod away, which brings nothing to be let in."""
    spec = node.get("spec") or {}
    taints = [*(spec.get("taints") or ()), *([_CORDONED] if spec.get("unschedulable") else ())]
    brought = pod["spec"].get("tolerations") or ()
    return any(
        taint.get("effect") in ("NoSchedule", "NoExecute") and not any(tolerates(each, taint) for each in brought)
        for taint in taints
    )


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Whether a pod with this toleration is let in despite this taint; the scheduler's own rules."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    operator, key = toleration.get("operator") or "Equal", toleration.get("key")
    if not key:
        # Without a key it tolerates everything, which has to be said with Exists.
        return operator == "Exists"
    if key != taint.get("key"):
        return False
    is_equal = (toleration.get("value") or "") == (taint.get("value") or "")
    return operator == "Exists" or (operator == "Equal" and is_equal)


def _requests(pod: Pod) -> dict[str, float]:
    return _resources(pod, "requests")


def _limits(pod: Pod) -> dict[str, float]:
    return _resources(pod, "limits")


def _resources(pod: Pod, kind: str) -> dict[str, float]:
    asked = status.program_spec(pod).get("resources", {}).get(kind) or {}
    return {name: amount(text) or 0.0 for name, text in asked.items()}
