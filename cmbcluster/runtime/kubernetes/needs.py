"""Which builds in the shared volume are needed now, and which were of late: what an installer that makes room is told.

Pods that are not over need theirs, and so do launches whose pod the watch has not seen yet. What an
installer was told it may act on minutes later, so a launch that comes meanwhile gets an installer of
its own even where its build is known to be there: that one leaves a sign of use in the volume.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cmbcluster.runtime.kubernetes import emptying, manifests, names, status
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.port import Ref

# About 16 kB in a pod; with more builds in use than these nothing is removed.
MOST_TOLD = 1000
LATE_SECONDS = 24 * 3600.0
# A pod that was not seen by then has not been made, or is gone.
UNSEEN_SECONDS = 600.0


@dataclass(frozen=True)
class _Launch:
    key: str
    may_remove: bool
    at: float


class Needs:
    """Of one namespace. ``pods`` are all that a watch knows, None while it does not follow."""

    def __init__(self, pods: Callable[[], Iterable[Json] | None]) -> None:
        self._pods = pods
        self._launches: dict[Ref, _Launch] = {}
        # When each was needed last; monotonic seconds.
        self._needed_at: dict[str, float] = {}

    def launching(self, ref: Ref, key: str, *, is_installed: bool) -> str | None:
        """What the installer of a pod that is made now is told; None when it needs none.

        ``is_installed`` says that its build was there: its installer, if it has one, has nothing to make room for.
        """
        now, pods = time.monotonic(), self._known()
        told: str | None = emptying.EVERYTHING
        if not is_installed and pods is not None:
            told = self._told(pods, now)
        elif is_installed and pods is not None and not self._is_removing(pods):
            told = None
        self._needed_at[key] = now
        self._launches[ref] = _Launch(key, told not in (None, emptying.EVERYTHING), now)
        return told

    def see(self, pod: Json) -> None:
        """Take note of a pod that the watch told of."""
        ref, key = names.ref_of(pod), names.annotations_of(pod).get(names.PACKAGES)
        if ref is not None:
            self._launches.pop(ref, None)
        if key and not status.is_over(pod):
            self._needed_at[key] = time.monotonic()

    def _known(self) -> list[Json] | None:
        now = time.monotonic()
        for ref in [ref for ref, launch in self._launches.items() if now - launch.at > UNSEEN_SECONDS]:
            del self._launches[ref]
        found = self._pods()
        return None if found is None else [pod for pod in found if not status.is_over(pod)]

    def _told(self, pods: list[Json], now: float) -> str:
        in_use = {names.annotations_of(pod).get(names.PACKAGES, "") for pod in pods} - {""}
        in_use |= {launch.key for launch in self._launches.values()}
        if len(in_use) > MOST_TOLD:
            return emptying.EVERYTHING
        self._needed_at |= dict.fromkeys(in_use, now)
        self._needed_at = {key: at for key, at in self._needed_at.items() if now - at <= LATE_SECONDS}
        latest = sorted(self._needed_at.items(), key=lambda item: -item[1])[:MOST_TOLD]
        told = (f"{key[: emptying.KEY_BEGINNING]}:{round(now - at)}" for key, at in latest)
        return " ".join([str(round(time.time())), *told])

    def _is_removing(self, pods: list[Json]) -> bool:
        """Whether an installer may be at work that was told before now."""
        return any(launch.may_remove for launch in self._launches.values()) or any(map(_may_remove, pods))


def _may_remove(pod: Json) -> bool:
    if status.phase(pod) == "Running" or status.state(status.installer(pod), "terminated"):
        return False
    installers = (each for each in pod["spec"].get("initContainers") or () if each["name"] == manifests.INSTALLER)
    told = {variable["name"]: variable.get("value") for each in installers for variable in each["env"]}
    return bool(told.get("CMB_NEEDED", emptying.EVERYTHING) != emptying.EVERYTHING)
