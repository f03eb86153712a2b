"""What an environment runs, in the controller's hands: resolved once, kept, and given to the runtime.

A lock or a pinned image is older than the process it is for, so it outlives every restart
of ours. An account at a registry is looked up anew for every start and kept nowhere here.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime

from cmbcluster.controller import words
from cmbcluster.controller.placements import Placements
from cmbcluster.controller.recorder import Recorder
from cmbcluster.controller.resolutions import Found, Resolution
from cmbcluster.db.models import Environment
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.domain.contents import source_of
from cmbcluster.domain.images import ImageSource, PinnedImage
from cmbcluster.domain.lifecycle import Stage
from cmbcluster.domain.sources import Lock, Program
from cmbcluster.images.port import ImageResolver
from cmbcluster.packages.port import Resolver
from cmbcluster.runtime.port import Packages, Placement, Ref, Spec, StageMark
from cmbcluster.services.registries import RegistryService

ANYWHERE = Placements()


class Contents:
    """Resolves sources, keeps what they were resolved to, and makes specs of it."""

    def __init__(
        self,
        recorder: Recorder,
        resolver: Resolver,
        images: ImageResolver,
        registries: RegistryService,
        placements: Placements = ANYWHERE,
    ) -> None:
        self._recorder = recorder
        self._resolver = resolver
        self._images = images
        self._registries = registries
        self._placements = placements

    def is_known(self, row: Environment) -> bool:
        """Whether the row's source has been resolved."""
        return row.lock_digest is not None or row.image is not None

    async def resolving(self, row: Environment) -> Coroutine[None, None, Found]:
        """The work of resolving the row's source, to be done beside the workers."""
        source = source_of(row.source)
        if not isinstance(source, ImageSource):
            return self._resolver.resolve(source)
        account = await self._registries.credentials_for(SYSTEM, row.owner_id, source)
        return self._images.resolve(source, account)

    async def keep(self, row: Environment, resolution: Resolution, found: Found, now: datetime) -> Environment | None:
        """Give the row what its source was resolved to; the row as it is then, or None when it moved on."""
        if isinstance(found, PinnedImage):
            detail = words.pinned(ImageSource.from_dict(row.source), found)
            mark = StageMark(Stage.RESOLVING, resolution.began_at, now, detail=detail)
            return await self._recorder.keep_image(row, found, mark)
        mark = StageMark(
            Stage.RESOLVING, resolution.began_at, now, done=found.packages, total=found.packages, unit="packages"
        )
        return await self._recorder.keep_lock(row, found, mark)

    async def spec(self, row: Environment) -> Spec:
        """All that the runtime needs to start the row."""
        content, pull_config = await self._content(row)
        return Spec(
            ref=ref_of(row),
            content=content,
            program=Program.from_dict(row.program),
            cpu_millis=row.cpu_millis,
            memory_bytes=row.memory_bytes,
            processes=row.processes,
            workspace_bytes=row.workspace_bytes,
            operation_id=row.operation_id,
            pull_config=pull_config,
            placement=await self._placement(row),
        )

    async def _placement(self, row: Environment) -> Placement:
        """What its application and the tier of its owner say; asked for the tier only where tiers differ."""
        tier = await self._recorder.tier_of(row) if self._placements.asks_for_tiers else None
        return self._placements.of(row.application_id, tier)

    async def _content(self, row: Environment) -> tuple[Packages | PinnedImage, str]:
        source = source_of(row.source)
        if isinstance(source, ImageSource):
            if row.image is None:
                raise RuntimeError("an image was not resolved")
            account = await self._registries.credentials_for(SYSTEM, row.owner_id, source)
            return PinnedImage.from_dict(row.image), account.pull_config() if account else ""
        lock: Lock | None = await self._recorder.lock_of(row)
        if lock is None:
            raise RuntimeError(f"lock {row.lock_digest} is missing")
        # The lock names the Python it was made for; the source may only say a least version.
        return Packages(replace(source, python=lock.python), lock), ""


def ref_of(row: Environment) -> Ref:
    """The name of the row's present run."""
    return Ref(row.id, row.slug, row.run)
