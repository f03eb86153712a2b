"""What is there at the end: rows from the database, pods and claims from the API server, and which claims went away."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from cmbcluster.runtime.kubernetes.names import COMPONENT, ENVIRONMENT, ENVIRONMENT_COMPONENT, GENERATION, labels_of
from cmbcluster.runtime.kubernetes.watching import Watcher
from tests.faults.ledger import Object, Row, World
from tests.kubernetes.cluster import Admin

OURS = {"labelSelector": f"{COMPONENT}={ENVIRONMENT_COMPONENT}"}
OVER = ("Succeeded", "Failed")


async def rows_of(url: str) -> list[asyncpg.Record]:
    """Every environment there ever was."""
    return await _fetched(url, "SELECT * FROM environments")


async def world(url: str, admin: Admin, removed_claims: Iterable[Object]) -> World:
    """Everything the checker asks about."""
    audit: dict[Any, list[str]] = defaultdict(list)
    have_run = set()
    for act in await _fetched(url, "SELECT * FROM activity WHERE environment_id IS NOT NULL"):
        if act["actor_id"] is not None:
            audit[act["environment_id"]].append(act["kind"])
        elif act["kind"] == "running":
            have_run.add(act["environment_id"])
    rows = [
        Row(
            str(row["id"]), row["name"], row["run"], row["desired"], row["phase"],
            row["generation"] == row["observed_generation"], row["remove_workspace"], tuple(audit[row["id"]]),
            row["id"] in have_run,
        )
        for row in await rows_of(url)
    ]  # fmt: skip
    pods = [_object(each) for each in await _ours(admin, "pods")]
    claims = [_object(each) for each in await _ours(admin, "persistentvolumeclaims")]
    return World(rows, pods, claims, list(removed_claims))


async def is_quiet(url: str, admin: Admin) -> bool:
    """Whether nothing is on its way any more."""
    for row in await rows_of(url):
        if row["generation"] != row["observed_generation"] or row["phase"] not in ("running", "stopped", "gone"):
            return False
    found = [*await _ours(admin, "pods"), *await _ours(admin, "persistentvolumeclaims")]
    return not [each for each in found if each["metadata"].get("deletionTimestamp")]


class Watched:
    """What was seen all the time, and not only at the end."""

    def __init__(self) -> None:
        self.removed_claims: list[Object] = []
        self.doubled: list[str] = []
        self._live: dict[str, set[str]] = defaultdict(set)

    def claim(self, claim: dict[str, Any], is_gone: bool) -> None:
        """A claim changed; one that is going will not come back."""
        if is_gone or claim["metadata"].get("deletionTimestamp"):
            self.removed_claims.append(_object(claim))

    def pod(self, pod: dict[str, Any], is_gone: bool) -> None:
        """I3: at no time does an environment have two."""
        live = self._live[labels_of(pod).get(ENVIRONMENT, "")]
        if is_gone or pod["status"].get("phase") in OVER:
            live.discard(pod["metadata"]["uid"])
            return
        live.add(pod["metadata"]["uid"])
        if len(live) > 1:
            self.doubled.append(pod["metadata"]["name"])


@asynccontextmanager
async def watched(admin: Admin) -> AsyncIterator[Watched]:
    """Follows pods and claims from outside."""
    seen = Watched()
    watchers = [
        Watcher(admin.cluster, f"{admin.base}/pods", OURS, seen.pod),
        Watcher(admin.cluster, f"{admin.base}/persistentvolumeclaims", OURS, seen.claim),
    ]
    tasks = [asyncio.create_task(each.run()) for each in watchers]
    try:
        await asyncio.gather(*(each.listed.wait() for each in watchers))
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _ours(admin: Admin, kind: str) -> list[dict[str, Any]]:
    found = await admin.cluster.get(f"{admin.base}/{kind}", **OURS)
    assert found is not None
    return list(found["items"])


def _object(found: dict[str, Any]) -> Object:
    labels = labels_of(found)
    phase = (found.get("status") or {}).get("phase")
    name, run = found["metadata"]["name"], int(labels.get(GENERATION, 0))
    return Object(labels.get(ENVIRONMENT, ""), name, run, phase not in OVER, time.time())


async def _fetched(url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
