"""Resolutions under way, one for each run of which is not known yet what exactly it runs.

A resolution takes seconds to minutes, far longer than a worker may hold a key, so it runs
beside the workers and rings when it is done. It is lost with the process and simply begun
again: resolving changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.sources import Lock

Found = Lock | PinnedImage


@dataclass(frozen=True)
class Resolution:
    """A resolution and when it began, by the database's clock."""

    run: int
    began_at: datetime
    task: asyncio.Task[Found]


class Resolutions:
    """Begins, finds and cancels resolutions. ``ring`` is called with the id when one ends."""

    def __init__(self, ring: Callable[[UUID], None]) -> None:
        self._ring = ring
        self._under_way: dict[UUID, Resolution] = {}

    def find(self, environment_id: UUID, run: int) -> Resolution | None:
        """The resolution of this run; one of another run is cancelled."""
        known = self._under_way.get(environment_id)
        if known is not None and known.run != run:
            self.drop(environment_id)
            return None
        return known

    def begin(self, environment_id: UUID, run: int, work: Coroutine[None, None, Found], now: datetime) -> Resolution:
        """Begin to resolve; ``find`` returns it from now on."""
        task = asyncio.create_task(work, name=f"resolve {environment_id}")
        task.add_done_callback(lambda _done: self._ring(environment_id))
        resolution = Resolution(run, now, task)
        self._under_way[environment_id] = resolution
        return resolution

    def drop(self, environment_id: UUID) -> None:
        """Forget the resolution of an environment, cancelling it when it is under way."""
        known = self._under_way.pop(environment_id, None)
        if known is None:
            return
        if known.task.done() and not known.task.cancelled():
            known.task.exception()  # Retrieved, so that asyncio does not complain about it.
        known.task.cancel()

    async def close(self) -> None:
        """Cancel everything and wait for it."""
        tasks = [known.task for known in self._under_way.values()]
        for environment_id in list(self._under_way):
            self.drop(environment_id)
        await asyncio.gather(*tasks, return_exceptions=True)
