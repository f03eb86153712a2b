"""A resolver in memory, with knobs for what can go wrong.

Equal sources resolve once, as the port promises. It must never touch an index.
"""

from __future__ import annotations

import asyncio
import hashlib

from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.packages.port import Interpreter


class FakeResolver:
    """Resolves any source to a lock made from its text.

    ``seconds`` is how long it takes. ``fails_with`` is raised when set (a BuildFailed, a
    ResolveFailed or a PackagesUnavailable). ``resolved`` lists what was really resolved;
    ``edition`` changes what the index has, so an *Update* gets another lock.
    """

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.fails_with: Exception | None = None
        self.edition = 1
        self.resolved: list[PythonSource] = []
        self.cancelled = 0
        self._under_way: dict[str, asyncio.Task[Lock]] = {}
        self._waiting: dict[str, int] = {}

    async def resolve(self, source: PythonSource) -> Lock:
        """A lock with one pinned line per requirement; single-flight for equal sources."""
        key = source.digest()
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._resolve(source))
            task.add_done_callback(lambda done: self._forget(key, done))
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._waiting[key] == 1:
                task.cancel()
                self.cancelled += 1
            raise
        finally:
            self._waiting[key] -= 1

    async def interpreters(self) -> tuple[Interpreter, ...]:
        """Two versions that need not exist."""
        return (Interpreter("3.12.1", "/usr/bin/python3.12"), Interpreter("3.11.7", "/usr/bin/python3.11"))

    async def _resolve(self, source: PythonSource) -> Lock:
        self.resolved.append(source)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.fails_with is not None:
            raise self.fails_with
        lines = []
        for requirement in source.requirements:
            mark = hashlib.sha256(f"{requirement} {source.as_of} {self.edition}".encode()).hexdigest()
            name = requirement.split("=")[0].split("<")[0].split(">")[0].split("[")[0].strip()
            lines.append(f"{name}=={self.edition}.0 --hash=sha256:{mark}")
        return Lock(text="\n".join(lines), python=source.python, packages=len(lines))

    def _forget(self, key: str, done: asyncio.Task[Lock]) -> None:
        if self._under_way.get(key) is done:
            del self._under_way[key]
        if not done.cancelled():
            done.exception()
