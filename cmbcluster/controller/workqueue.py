"""A queue of keys: each at most once, never two workers on one, failures later and later.

The queue knows nothing of what a key means. It must never lose a key that was added while
a worker was busy with it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0


class WorkQueue(Generic[K]):
    """Keys with the time at which each is due, on the event loop's clock."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._due: dict[K, float] = {}
        self._order: list[tuple[float, int, K]] = []
        self._serial = 0
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: K, after_seconds: float = 0.0) -> None:
        """Ask for a key to be worked on; an earlier wish for the same key stands."""
        due = asyncio.get_running_loop().time() + after_seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._push(key, due)

    def retry(self, key: K) -> float:
        """Ask again after a delay that doubles with each failure; returns it in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay: float = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures, 16))
        # Full jitter above half keeps many keys that failed together from returning together.
        delay *= 0.5 + self._chance() / 2
        self.add(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    async def take(self) -> K:
        """The next key that is due and that nobody works on; call ``done`` afterwards."""
        while True:
            self._changed.clear()
            wait_seconds: float | None = None
            now = asyncio.get_running_loop().time()
            while self._order:
                due, _, key = self._order[0]
                if self._due.get(key) != due or key in self._busy:
                    heapq.heappop(self._order)  # Stale, or pushed again by ``done``.
                    continue
                if due > now:
                    wait_seconds = due - now
                    break
                heapq.heappop(self._order)
                del self._due[key]
                self._busy.add(key)
                return key
            await self._sleep(wait_seconds)

    def done(self, key: K) -> None:
        """The worker has finished with a key; a wish that came meanwhile is due again."""
        self._busy.discard(key)
        if key in self._due:
            self._push(key, self._due[key])

    def __contains__(self, key: object) -> bool:
        """Whether a key is due at some time."""
        return key in self._due

    def __len__(self) -> int:
        return len(self._due)

    def _push(self, key: K, due: float) -> None:
        self._serial += 1
        heapq.heappush(self._order, (due, self._serial, key))
        self._changed.set()

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
