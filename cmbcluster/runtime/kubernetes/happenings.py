"""Events of the cluster, kept as long as they matter: what a pod waits for and what went wrong.

Events are hints that the cluster forgets after an hour. They make stages and words more
exact; nothing is decided by them alone but that a volume or a place on its machine cannot be had.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from cmbcluster.runtime.kubernetes import status
from cmbcluster.runtime.kubernetes.hopeless import Warned
from cmbcluster.runtime.kubernetes.names import Json

KEPT_OBJECTS = 20_000
_SIZE = re.compile(r"Image size: (\d+) bytes")
_PRESENT = "already present on machine"
_TOOK = re.compile(r"in ([\d.]+)(ms|s)\b")
_MINUTES = re.compile(r"in (\d+)m([\d.]+)s\b")
_TELLING = frozenset(
    {
        "FailedMount", "FailedAttachVolume", "FailedMapVolume", "ProvisioningFailed", "FailedBinding",
        "FailedCreatePodSandBox",
    }
)  # fmt: skip


@dataclass
class Pull:
    """One image being brought to a node, or found there: then ``was_there``."""

    image: str
    began_at: datetime
    ended_at: datetime | None = None
    size_bytes: int | None = None
    was_there: bool = False


@dataclass
class _Told:
    pull: Pull | None = None
    warnings: dict[str, Warned] | None = None


class Happenings:
    """What events said about each object, by its uid or, for claims, by its name."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, _Told] = OrderedDict()

    def hear(self, event: Json) -> str | None:
        """Take in one event; returns the name of the pod it changes something for."""
        about = event.get("involvedObject") or {}
        kind, key = about.get("kind"), str(about.get("uid") or "")
        reason, message = str(event.get("reason", "")), str(event.get("message", ""))
        at = _time_of(event)
        if at is None or kind not in ("Pod", "PersistentVolumeClaim") or not key:
            return None
        if reason in _TELLING:
            told = self._of(key if kind == "Pod" else f"claim/{about.get('name')}")
            told.warnings = {**(told.warnings or {})}
            first = status.moment(event.get("firstTimestamp")) or at
            told.warnings[reason] = Warned(reason, message[:500], first)
        elif reason == "Pulling":
            told = self._of(key)
            if told.pull is None or (told.pull.ended_at is None and told.pull.began_at > at):
                told.pull = Pull(_quoted(message), at)
        elif reason == "Pulled" and (size := _SIZE.search(message)):
            pull = self._of(key).pull or Pull(_quoted(message), at - _took(message))
            pull.ended_at, pull.size_bytes = at, int(size.group(1))
            self._of(key).pull = pull
        elif reason == "Pulled" and _PRESENT in message and self._of(key).pull is None:
            # Said of the first container; the next ones use what was just brought.
            self._of(key).pull = Pull(_quoted(message), at, at, was_there=True)
        else:
            return None
        return str(about.get("name")) if kind == "Pod" else None

    def pull(self, pod: status.Pod) -> Pull | None:
        """The image a pod waits or waited for, or that its node had; None while nothing was said of it."""
        told = self._told.get(str(pod["metadata"].get("uid")))
        return told.pull if told is not None else None

    def warnings(self, pod: status.Pod) -> list[Warned]:
        """What went wrong with a pod and its claims."""
        keys = [str(pod["metadata"].get("uid"))]
        for volume in pod["spec"].get("volumes") or ():
            if claim := volume.get("persistentVolumeClaim"):
                keys.append(f"claim/{claim['claimName']}")
        made_at = status.moment(pod["metadata"].get("creationTimestamp"))
        found = [warned for key in keys for warned in (self._told.get(key, _Told()).warnings or {}).values()]
        # A claim's old troubles are not this pod's.
        return [each for each in found if made_at is None or each.first_at >= made_at - timedelta(seconds=1)]

    def _of(self, key: str) -> _Told:
        told = self._told.setdefault(key, _Told())
        self._told.move_to_end(key)
        while len(self._told) > KEPT_OBJECTS:
            self._told.popitem(last=False)
        return told


def _time_of(event: Json) -> datetime | None:
    return (
        status.moment(event.get("lastTimestamp"))
        or status.moment(event.get("eventTime"))
        or status.moment(event["metadata"].get("creationTimestamp"))
    )


def _took(message: str) -> timedelta:
    if match := _MINUTES.search(message):
        return timedelta(minutes=int(match.group(1)), seconds=float(match.group(2)))
    if match := _TOOK.search(message):
        amount = float(match.group(1))
        return timedelta(milliseconds=amount) if match.group(2) == "ms" else timedelta(seconds=amount)
    return timedelta()


def _quoted(message: str) -> str:
    match = re.search(r'"([^"]+)"', message)
    return match.group(1) if match else ""
