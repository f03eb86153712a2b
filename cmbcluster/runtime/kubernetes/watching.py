"""A list, then a watch, for ever: how changes of one kind of object reach us.

What is told here is a hint and never a reason to act. A stream that breaks, falls silent or
has become too old leads to a new list, whose difference to what was known is told as well,
so that nothing that vanished meanwhile goes unnoticed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes.client import TOO_LARGE, ApiBusy, ApiRefused, Cluster, Json, ResourceGone
from cmbcluster.runtime.kubernetes.names import uid_of

PAGE = "500"
# Of the time a watch was asked for: who was heard nothing from so long is not believed any more.
WHOLE_SHARE = 0.9
BREAKS = (ResourceGone, ApiBusy, ApiRefused, RuntimeUnavailable)
# What an answer leads to that is not of the form the API server promises.
UNREADABLE = (ValueError, KeyError, TypeError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rhythm:
    """How long a watch lasts and how long we wait; tests use shorter ones."""

    server_seconds: int = 290
    # Bookmarks come once a minute: two that do not come are a connection that nobody ended.
    silence_seconds: float = 150.0
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 30.0


Told = Callable[[Json, bool], None]


class Watcher:
    """Keeps ``known`` in step with the server and tells each change: the object, and whether it is gone."""

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        query: Mapping[str, str],
        told: Told,
        *,
        trim: Callable[[Json], Json] = lambda item: item,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._cluster = cluster
        self._path = path
        self._query = dict(query)
        self._told = told
        self._trim = trim
        self._rhythm = rhythm or Rhythm()
        self._version = ""
        self._heard = 0
        self._follows = False
        self._heard_at = datetime.now(UTC)
        self.known: dict[str, Json] = {}
        self.listed = asyncio.Event()

    @property
    def heard_at(self) -> datetime | None:
        """When the server last said something, be it that nothing changed; None while nothing is followed."""
        return self._heard_at if self._follows else None

    @property
    def known_now(self) -> list[Json] | None:
        """What is known; None while nothing is followed, when that may be old."""
        return list(self.known.values()) if self._follows else None

    async def run(self) -> None:
        """Follow for ever. Only cancelling ends it."""
        pause_seconds = self._rhythm.first_pause_seconds
        while True:
            heard, wait_seconds = self._heard, 0.0
            try:
                if not self._version:
                    await self._list()
                began = time.monotonic()
                await self._watch()
                pause_seconds = self._rhythm.first_pause_seconds
                if self._heard == heard and time.monotonic() - began >= self._rhythm.server_seconds * WHOLE_SHARE:
                    # Not even a bookmark: the server may have been set back to before our version, and would say
                    # nothing until its own have caught up with it.
                    self._version = ""
            except (*BREAKS, *UNREADABLE) as wrong:
                _log.info("a watch broke off", extra={"path": self._path, "error": str(wrong)})
                if isinstance(wrong, ResourceGone | ApiRefused):
                    # From here nothing is told any more; a new list is.
                    self._version = ""
                if self._heard > heard and not isinstance(wrong, ResourceGone):
                    pause_seconds = self._rhythm.first_pause_seconds
                wait_seconds = max(pause_seconds, getattr(wrong, "retry_after_seconds", 0.0))
                pause_seconds = min(pause_seconds * 2, self._rhythm.longest_pause_seconds)
            # Even a server that ends every stream at once is not asked without a pause.
            wait_seconds = max(wait_seconds, self._rhythm.first_pause_seconds / 4)
            await asyncio.sleep(wait_seconds * random.uniform(0.7, 1.3))  # noqa: S311

    async def _list(self) -> None:
        """Read everything, tell the difference, and note from where to watch on."""
        found: dict[str, Json] = {}
        following = ""
        while True:
            page = await self._cluster.get(
                self._path, **self._query, limit=PAGE, **({"continue": following} if following else {})
            )
            if page is None:
                raise ApiBusy("there is no such list")
            for item in page.get("items") or ():
                found[item["metadata"]["name"]] = item
            following = page["metadata"].get("continue", "")
            if not following:
                break
        for name in [name for name in self.known if name not in found]:
            self._tell(self.known.pop(name), True)
        for name, item in found.items():
            old = self.known.get(name)
            if old is not None and uid_of(old) != uid_of(item):
                self._tell(self.known.pop(name), True)
            elif old is not None and _version(old) == _version(item):
                continue
            self._keep(name, item)
        self._version = _version(page)
        self._heard_at = datetime.now(UTC)
        self.listed.set()

    async def _watch(self) -> None:
        """Follow changes from the version reached until the stream ends."""
        query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(self._rhythm.server_seconds),
        }
        async with self._cluster.stream(self._path, query, self._rhythm.silence_seconds) as lines:
            self._follows = True
            try:
                async for line in lines:
                    self._hear(line)
            finally:
                self._follows = False

    def _hear(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise _meaning(item)
            self._version = _version(item)
            self._heard += 1
            self._heard_at = datetime.now(UTC)
            if kind in ("ADDED", "MODIFIED"):
                self._keep(item["metadata"]["name"], item)
            elif kind == "DELETED":
                self.known.pop(item["metadata"]["name"], None)
                self._tell(item, True)
        except UNREADABLE as wrong:
            raise ApiBusy("the stream broke off within a line") from wrong

    def _tell(self, item: Json, is_gone: bool) -> None:
        try:
            self._told(item, is_gone)
        except Exception:
            # One object that nobody can read must not keep the others from being told.
            _log.exception("a change was not understood", extra={"path": self._path, "name_told": _name(item)})

    def _keep(self, name: str, item: Json) -> None:
        self.known[name] = self._trim(item)
        self._tell(item, False)


def _name(item: Json) -> str:
    return str((item.get("metadata") or {}).get("name", ""))


def _version(item: Json) -> str:
    return str(item["metadata"]["resourceVersion"])


def _meaning(status: Json) -> Exception:
    """What an ERROR within a stream that began well says."""
    message = str(status.get("message", ""))
    if status.get("code") == 410 or TOO_LARGE in message:
        return ResourceGone(message)
    return ApiBusy(f"{status.get('code')} {message}")


def without_bookkeeping(pod: Json) -> Json:
    """A pod without what only servers read; thousands of them are kept."""
    pod["metadata"].pop("managedFields", None)
    return pod


def name_alone(event: Json) -> Json:
    """Of events only their identity is kept here; what they say is kept elsewhere."""
    kept = {name: event["metadata"].get(name) for name in ("name", "uid", "resourceVersion")}
    return {"metadata": kept}
