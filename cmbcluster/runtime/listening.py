"""How observers are told: the newest observation of each run, in the order in which they waited.

A slow observer misses steps in between, never the last one.
"""

from __future__ import annotations

import asyncio

from cmbcluster.runtime.port import Observation, Ref


class Listener:
    """One observer: only the newest observation of each run waits for it."""

    def __init__(self) -> None:
        self._waiting: dict[Ref, Observation] = {}
        self._rung = asyncio.Event()

    def tell(self, seen: Observation) -> None:
        """Put an observation in place of an older one of the same run."""
        self._waiting[seen.ref] = seen
        self._rung.set()

    async def next(self) -> Observation:
        """The observation that waited longest."""
        while not self._waiting:
            self._rung.clear()
            await self._rung.wait()
        return self._waiting.pop(next(iter(self._waiting)))
