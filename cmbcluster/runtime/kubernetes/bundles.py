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

from cmbcluster.runtime.kubernetes import names, packages
from cmbcluster.runtime.kubernetes.names import Json, Place
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.kubernetes.packages import Bundle
from cmbcluster.runtime.port import Packages

UNUSED_SECONDS = 24 * 3600.0
_log = logging.getLogger(__name__)


class Bundles:
    """Of one namespace. ``unused_seconds`` is how long one has to be of no use before it is deleted."""

    def __init__(
        self,
        objects: Objects,
        place: Place,
        workspace_image: str,
        shared_claim: Json,
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
        self._turn = asyncio.Lock()

    async def make(self, content: Packages) -> Bundle:
        """What a pod installs, put where it finds it. Written once for a lock, not once for a launch."""
        bundle = packages.bundle_of(content, self._workspace_image)
        async with self._turn:
            if bundle.name not in self._made:
                await self._objects.make_shared("persistentvolumeclaims", self._shared_claim)
                await self._objects.make_shared("configmaps", packages.config_map(self._place, bundle))
                self._made.add(bundle.name)
            self._needed_at[bundle.name] = time.monotonic()
        return bundle

    def doubt(self, key: str) -> None:
        """Look again before the next launch whether the bundle of that key is there."""
        self._made.discard(packages.bundle_name(key))

    async def clear(self, pods: Iterable[Json]) -> None:
        """Delete those that no pod and no launch has needed for long; ``pods`` are all there are."""
        used = {name for pod in pods for name in names.config_maps_of(pod)}
        found = await self._objects.config_maps()
        now = time.monotonic()
        for name in used:
            self._needed_at[name] = now
        for name, needed_at in list(self._needed_at.items()):
            if name not in found and name not in used and now - needed_at > self._unused_seconds:
                del self._needed_at[name]
        for name, uid in found.items():
            async with self._turn:
                if now - self._needed_at.setdefault(name, now) < self._unused_seconds:
                    continue
                _log.info("a bundle of packages that nothing needs is deleted", extra={"config_map": name})
                self._made.discard(name)
                await self._objects.remove_config_map(name, uid)
                self._needed_at.pop(name, None)
