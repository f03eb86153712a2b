"""The bus inside one process. Loses the oldest ring of a subscriber that does not read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cmbcluster.bus.port import Ring

QUEUE_LIMIT = 100


class MemoryBus:
    """Queues per subscriber, indexed by topic."""

    def __init__(self) -> None:
        self._subscribers: dict[str, set[asyncio.Queue[Ring]]] = defaultdict(set)

    async def publish(self, ring: Ring) -> None:
        """Put the ring into every queue of its topic; a full queue drops its oldest."""
        for queue in tuple(self._subscribers.get(ring.topic, ())):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(ring)

    @asynccontextmanager
    async def subscribe(self, *topics: str) -> AsyncIterator[AsyncIterator[Ring]]:
        """Rings of the topics while the context is open."""
        queue: asyncio.Queue[Ring] = asyncio.Queue(QUEUE_LIMIT)
        for topic in topics:
            self._subscribers[topic].add(queue)
        try:
            yield _drain(queue)
        finally:
            for topic in topics:
                self._subscribers[topic].discard(queue)
                if not self._subscribers[topic]:
                    del self._subscribers[topic]


async def _drain(queue: asyncio.Queue[Ring]) -> AsyncIterator[Ring]:
    while True:
        yield await queue.get()
