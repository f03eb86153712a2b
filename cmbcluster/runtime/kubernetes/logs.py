"""The output of a pod, as the cluster keeps it.

A cluster counts lines by time and not by bytes, so the offset of a line is the moment it was
written, in microseconds: as good to continue from, and true even after old lines went away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes import status
from cmbcluster.runtime.kubernetes.client import ApiBusy, ApiRefused, Cluster, ResourceGone
from cmbcluster.runtime.kubernetes.manifests import PROGRAM
from cmbcluster.runtime.port import Ending, LogLine
from cmbcluster.runtime.wording import showable

TAIL_LINES = 40
SHORTEST_LINE_BYTES = 8
# What is read from the end is held until it is whole, in a process that everybody shares.
MOST_TAIL_BYTES = 1024**2
MOST_TAIL_LINES = 20_000
# More than a node keeps of one log by default (10 MiB): a cluster cuts at the end, where the lines are that are wanted.
MOST_READ_BYTES = 16 * 1024**2
PAUSE_SECONDS = 1.0
TAIL_SECONDS = 10.0
# A node that is away must not keep people from stopping what ran there.
LAST_WORDS_SECONDS = 2.0
LAST_WORDS_BYTES = 65_536
SILENCE_SECONDS = 3600.0
_MICROSECONDS = 1_000_000


async def read(cluster: Cluster, path: str, uid: str, offset: int, *, follow: bool) -> AsyncIterator[LogLine]:
    """Lines after ``offset`` (negative: about that many last bytes) of the pod at ``path`` with ``uid``."""
    reached = max(offset, 0)
    query: dict[str, str] = {}
    if offset < 0:
        async for line in _last(cluster, path, min(-offset, MOST_TAIL_BYTES)):
            reached = line.offset
            yield line
    while True:
        if reached:
            since = datetime.fromtimestamp(reached // _MICROSECONDS, UTC)
            query = {"sinceTime": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if offset >= 0 or follow:
            async for line in _once(cluster, path, query | ({"follow": "true"} if follow else {}), reached):
                reached = line.offset
                yield line
        if not follow:
            return
        pod = await cluster.get(path)
        if pod is None or pod["metadata"]["uid"] != uid or status.is_over(pod):
            return
        await asyncio.sleep(PAUSE_SECONDS)


def of_ending(ending: Ending | None, offset: int) -> Iterator[LogLine]:
    """What is remembered of a run that is over: its last lines, for whoever reads from the beginning or the end.

    When each was written is not known any more.
    """
    if ending is None or offset > 0:
        # Offsets of lines that were read while it ran say nothing about these.
        return
    ended = ending.ended_at or datetime.fromtimestamp(0, UTC)
    for number, text in enumerate(ending.log_tail.splitlines(), 1):
        reached = int(ended.timestamp() * _MICROSECONDS) + number
        yield LogLine(at=None, text=text, offset=reached)


async def tail(cluster: Cluster, path: str, container: str = PROGRAM, *, wait_seconds: float = TAIL_SECONDS) -> str:
    """The last lines, as text; empty when there are none to be had in that time."""
    query = {"container": container, "tailLines": str(TAIL_LINES), "limitBytes": str(MOST_TAIL_BYTES)}
    try:
        async with asyncio.timeout(wait_seconds), cluster.stream(f"{path}/log", query, wait_seconds) as lines:
            said = b"".join([line async for line in lines])
            # A cluster cuts at the end, where the lines are that are wanted, so the cut is made here.
            return showable(said[-LAST_WORDS_BYTES:].decode(errors="replace"))
    except (ApiRefused, ApiBusy, ResourceGone, RuntimeUnavailable, TimeoutError):
        return ""


async def _once(cluster: Cluster, path: str, query: dict[str, str], after: int) -> AsyncIterator[LogLine]:
    asked = {"container": PROGRAM, "timestamps": "true", **query}
    reached = 0
    try:
        async with cluster.stream(f"{path}/log", asked, SILENCE_SECONDS) as lines:
            async for raw in lines:
                at, text = _split(raw.decode(errors="replace").rstrip("\r\n"))
                stamp = int(at.timestamp()) * _MICROSECONDS + at.microsecond if at is not None else reached
                # Two lines of one microsecond still have an order.
                reached = max(stamp, reached + 1)
                if reached > after:
                    yield LogLine(at=at, text=showable(text), offset=reached)
    except (ApiRefused, ResourceGone):
        # The container has not begun, or is gone.
        return
    except ApiBusy as busy:
        if "follow" not in query:
            raise RuntimeUnavailable(f"The log could not be read: {busy}") from busy


async def _last(cluster: Cluster, path: str, most_bytes: int) -> AsyncIterator[LogLine]:
    """The last whole lines that fit. What fits no more is let go of while the rest is read."""
    lines = min(most_bytes // SHORTEST_LINE_BYTES + 1, MOST_TAIL_LINES)
    query = {"tailLines": str(lines), "limitBytes": str(MOST_READ_BYTES)}
    kept: deque[tuple[int, LogLine]] = deque()
    held_bytes = 0
    async for line in _once(cluster, path, query, 0):
        size_bytes = len(line.text.encode()) + 1
        kept.append((size_bytes, line))
        held_bytes += size_bytes
        while held_bytes > most_bytes:
            held_bytes -= kept.popleft()[0]
    while kept:
        yield kept.popleft()[1]


def _split(text: str) -> tuple[datetime | None, str]:
    """The moment and the words of a line; the moment has nanoseconds, which datetime has not."""
    stamp, _, words = text.partition(" ")
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    try:
        at = datetime.fromisoformat(whole).replace(tzinfo=UTC, microsecond=int((fraction + "000000")[:6]))
    except ValueError:
        return None, text
    return at, words
