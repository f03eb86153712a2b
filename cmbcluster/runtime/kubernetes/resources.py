"""Resources of a cluster in people's words: ``requests.memory=134217728`` is 128 MiB of memory.

What has no word of ours is called what the cluster calls it.
"""

from __future__ import annotations

from cmbcluster.runtime.kubernetes.quantities import amount
from cmbcluster.runtime.wording import size

_BYTES = {"memory": "memory", "storage": "storage", "ephemeral-storage": "temporary storage"}
_COUNTED = {
    "cpu": ("processor", "processors"),
    "pods": ("environment", "environments"),
    "persistentvolumeclaims": ("workspace", "workspaces"),
    "gpu": ("GPU", "GPUs"),
}


def word(name: str) -> str:
    """What a resource is called: ``memory``, ``processor time``, ``GPUs``."""
    kind = _kind(name)
    if kind == "cpu":
        return "processor time"
    return _BYTES.get(kind) or _COUNTED.get(kind, ("", name))[1]


def said(name: str, value: float) -> str:
    """So much of it: ``4 GiB of memory``, ``1 GPU``."""
    kind = _kind(name)
    if kind in _COUNTED:
        return f"{bare(name, value)} {_COUNTED[kind][value != 1]}"
    return f"{bare(name, value)} of {_BYTES.get(kind, name)}"


def bare(name: str, value: float) -> str:
    """So much, where what it is has been said."""
    if is_measured(name):
        return size(int(value))
    digits = 2 if value >= 0.1 else 3
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def is_measured(name: str) -> bool:
    """Whether it is told in bytes."""
    return _kind(name) in _BYTES


def of_limit(groups: tuple[str, ...]) -> tuple[str, ...]:
    """The words for a limit of one environment: ``memory`` and ``64Mi``."""
    name, text = groups
    value = amount(text)
    return (f"{text} of {word(name)}" if value is None else said(name, value),)


def of_quota(groups: tuple[str, ...]) -> tuple[str, ...]:
    """What was asked for, the share, and what is in use of it, of the first resource that would exceed its share."""
    requested, used, hard = (_amounts(text) for text in groups)
    exceeded = [name for name in requested if requested[name] + used.get(name, 0.0) > hard.get(name, 0.0)]
    name = next(iter([*exceeded, *requested]), None)
    if name is None or name not in hard:
        # In words we do not know, the cluster's own say more than none.
        return groups[0], groups[2], f"{groups[1]} are in use"
    there = used.get(name, 0.0)
    in_use = f"{bare(name, there)} {'is' if there == 1 else 'are'} in use" if there else "nothing is in use"
    return said(name, requested[name]), said(name, hard[name]), in_use


def of_names(groups: tuple[str, ...]) -> tuple[str, ...]:
    """What a quota counts and was not told: ``limits.cpu for: program; limits.memory for: program``."""
    wanted = (name for part in groups[0].split(";") for name in part.partition(" for")[0].split(","))
    words = list(dict.fromkeys(word(each.strip()) for each in wanted if each.strip()))
    return (" and ".join(words),)


def _amounts(text: str) -> dict[str, float]:
    """``a=1,b=2Gi`` by name; what cannot be read is left out."""
    pairs = (part.strip().partition("=") for part in text.split(","))
    found = ((name, amount(value)) for name, _, value in pairs)
    return {name: value for name, value in found if value is not None}


def _kind(name: str) -> str:
    """The resource behind its forms: asked for, limited, counted, of one class of storage or of one maker of GPUs."""
    for prefix in ("requests.", "limits.", "count/"):
        name = name.removeprefix(prefix)
    before, _, last = name.rpartition("/")
    if last == "gpu":
        return last
    return last.removeprefix("requests.") if before.endswith(".storageclass.storage.k8s.io") else name
