"""The contract of the bus: short messages, delivered soon, possibly lost.

A ring says "look again"; whoever hears it reads the database. Nothing may rely on a ring
arriving, and no ring carries data that is not in the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ring:
    """``topic`` is a word with an id: ``user:<id>``, ``environment:<id>``, ``session:<id>``.

    ``about`` empty: anything of the topic may have changed, since rings may have been missed.
    Whoever hears that looks again at all of it.
    """

    topic: str
    about: str = ""


class Bus(Protocol):
    """Publishes rings and lets others wait for them."""

    async def publish(self, ring: Ring) -> None:
        """Tell every present subscriber of ``ring.topic``. Never blocks on a slow one."""

    def subscribe(self, *topics: str) -> AbstractAsyncContextManager[AsyncIterator[Ring]]:
        """Rings of the topics from now on. A slow subscriber loses the oldest, not the newest."""
