"""How much is missing where the scheduler finds no place, and what would fit.

Figures of machines need the right to list nodes, which a platform may lack; then nothing is
said. Only environments of ours are counted as using a machine, so what is called free is the
most there can be, and the words say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cmbcluster.runtime.kubernetes import status
from cmbcluster.runtime.kubernetes.quantities import amount
from cmbcluster.runtime.kubernetes.status import Pod
from cmbcluster.runtime.wording import size

_SHORT = re.compile(r"Insufficient ([\w./-]+)")
NAMES = {"memory": "memory", "cpu": "processor time", "ephemeral-storage": "temporary storage"}


def shortage(pod: Pod, said: str, nodes: Iterable[Mapping[str, Any]], pods: Iterable[Pod]) -> tuple[str, str] | None:
    """Two sentences: what is short and by how much, and what would fit. None when that cannot be said."""
    short = list(dict.fromkeys(name.rstrip(".") for name in _SHORT.findall(said)))
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
    needs, has = _amount(name, wanted[name] * share), _amount(name, max(0.0, most) * share)
    word = NAMES.get(name, name)
    if most >= wanted[name]:
        # Others use it, and we are not shown by how much.
        return f"It asks for {needs} of {word}, and no machine of the cluster has that free now.", _then(None)
    missing = _amount(name, (wanted[name] - most) * share)
    what = f"It asks for {needs} of {word}. The roomiest machine has at most {has} free, so {missing} are missing."
    return what, _then(has if most > 0 else None, word)


def _then(has: str | None, word: str = "") -> str:
    if has is None:
        return "Stop another environment or choose a smaller size, then start it again."
    return f"Choose a size with at most {has} of {word}, or stop another environment."


def _free(pod: Pod, nodes: Iterable[Mapping[str, Any]], pods: Iterable[Pod]) -> list[dict[str, float]]:
    """What each machine that could take the pod has left."""
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
        if each.get("spec", {}).get("unschedulable") or any(labels.get(k) != v for k, v in wanted.items()):
            continue
        taken = used.get(each["metadata"]["name"], {})
        allocatable = each.get("status", {}).get("allocatable") or {}
        found.append({name: (amount(text) or 0.0) - taken.get(name, 0.0) for name, text in allocatable.items()})
    return found


def _requests(pod: Pod) -> dict[str, float]:
    return _resources(pod, "requests")


def _limits(pod: Pod) -> dict[str, float]:
    return _resources(pod, "limits")


def _resources(pod: Pod, kind: str) -> dict[str, float]:
    asked = status.program_spec(pod).get("resources", {}).get(kind) or {}
    return {name: amount(text) or 0.0 for name, text in asked.items()}


def _amount(name: str, value: float) -> str:
    if name in ("memory", "ephemeral-storage"):
        return size(int(value))
    if name == "cpu":
        return f"{value:.1f}".removesuffix(".0") + " processors"
    return f"{value:.0f}"
