"""A dictionary that forgets what was put into it longest ago, so that it does not grow for ever."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

KEPT = 10_000
K = TypeVar("K")
V = TypeVar("V")


class Newest(OrderedDict[K, V], Generic[K, V]):
    """Keeps the newest entries."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        while len(self) > KEPT:
            self.popitem(last=False)
