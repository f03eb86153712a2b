"""The config maps that pods install their packages from: made before a pod, deleted when nothing needs them.

One is made again whenever a launch wants it, so deleting one loses nothing but a write. It must
never go between the look that finds it there and the pod that needs it: launches and deletions
of one process take turns, and what was wanted of late stays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from cmbcluster.runtime.kubernetes import names, packages, status
from cmbcluster.runtime.kubernetes.names import Json, Place
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.kubernetes.packages import Bundle
from cmbcluster.runtime.port import Packages

UNUSED_SECONDS = 24 * 3600.0
# Who has not cleared for so long was not the controller that works, or could not reach the cluster.
AWAY_SECONDS = 1200.0
_log = logging.getLogger(__name__)


class Bundles:
    """Of one namespace. ``unused_seconds`` is how long one has to be of no use before it is deleted.

    ``shared_claim`` is made with the first of them; None where environments share no volume.
    """

    def __init__(
        self,
        objects: Objects,
        place: Place,
        workspace_image: str,
        shared_claim: Json | None,
        unused_seconds: float = UNUSED_SECONDS,
    ) -> None:
        self._objects = objects
        self._place = place
        self._workspace_image = workspace_image
        self._shared_claim = shared_claim
        self._unused_seconds = unused_seconds
        self._made: set[str] = set()
        # When each was needed last, or was first seen to be of no use; monotonic seconds.
        self._needed_at: dict[str, float] = {}
        self._cleared_at = time.monotonic()
        self._turn = asyncio.Lock()

    async def make(self, content: Packages) -> Bundle:
        """What a pod installs, put where it finds it. Written once for a lock, not once for a launch."""
        bundle = packages.bundle_of(content, self._workspace_image)
        async with self._turn:
            if bundle.name not in self._made:
                if self._shared_claim is not None:
                    await self._objects.make_shared("persistentvolumeclaims", self._shared_claim)
                await self._objects.make_shared("configmaps", packages.config_map(self._place, bundle))
                self._made.add(bundle.name)
            self._needed_at[bundle.name] = time.monotonic()
        return bundle

    def doubt(self, key: str) -> None:
        """Look again before the next launch whether the bundle of that key is there."""
        self._made.discard(packages.bundle_name(key))

    async def clear(self, pods: Iterable[Json]) -> None:
        """Delete those that no pod and no launch has needed for long; ``pods`` are all that a watch knows."""
        found = {each["metadata"]["name"]: each for each in await self._objects.config_maps()}
        # Another controller, or somebody by hand, may have deleted what this process made.
        self._made &= set(found)
        now = time.monotonic()
        if now - self._cleared_at > AWAY_SECONDS:
            # Another controller worked meanwhile, and what it needed is not known here.
            self._needed_at.clear()
        self._cleared_at = now
        self._need(pods, now)
        for name, needed_at in list(self._needed_at.items()):
            if name not in found and now - needed_at > self._unused_seconds:
                del self._needed_at[name]
        candidates = [name for name, each in found.items() if self._is_unused(name, each, now)]
        if candidates:
            # A watch may be late: whatever is deleted is of no use to the pods that there are now.
            self._need(await self._objects.pods(), now)
        for name in candidates:
            await self._remove(name, found[name], now)

    async def _remove(self, name: str, config_map: Json, now: float) -> None:
        async with self._turn:
            if not self._is_unused(name, config_map, now):
                return
            _log.info("a bundle of packages that nothing needs is deleted", extra={"config_map": name})
            self._made.discard(name)
            await self._objects.remove_config_map(name, names.uid_of(config_map))
            self._needed_at.pop(name, None)

    def _need(self, pods: Iterable[Json], now: float) -> None:
        for pod in pods:
            for name in names.config_maps_of(pod):
                self._needed_at[name] = now

    def _is_unused(self, name: str, config_map: Json, now: float) -> bool:
        made_at = status.moment(config_map["metadata"].get("creationTimestamp"))
        if made_at is not None and (datetime.now(UTC) - made_at).total_seconds() < self._unused_seconds:
            # Whoever made it may be about to make its pod.
            return False
        return now - self._needed_at.setdefault(name, now) >= self._unused_seconds
