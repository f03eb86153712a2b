"""Writing what the controller found: the only place that changes a phase after *queued*.

Each finding is one transaction that first claims the row, that is locks it, and makes sure
that it still is what the finding was made from: its generation, run, phase, and what was
fulfilled. A finding that comes too late changes nothing and raises MovedOn. So any two
controllers may find anything at once; one of them writes. No lock is ever held over a call of
the runtime: what was started for a row that has moved on is stopped again by whoever finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.controller import words
from cmbcluster.db.database import Database, Work
from cmbcluster.db.environments import StandingRow
from cmbcluster.db.failures import retried
from cmbcluster.db.models import Environment, LaunchStage, PackageLock
from cmbcluster.domain.actors import SYSTEM, Tier
from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import Desired, Phase, Stage, StopReason, may_follow
from cmbcluster.domain.sources import Lock
from cmbcluster.errors import CMBClusterError
from cmbcluster.runtime.port import Ending, StageMark
from cmbcluster.services.records import note_activity, tell

log = structlog.get_logger("cmbcluster.controller")

# A cluster that takes it away again and again is for its owner to see.
MOST_RESTARTS = 3
WORTH_SECONDS = 60


class MovedOn(CMBClusterError):
    """The row is not any more what the finding was made from; nothing was written."""

    def __init__(self, seen: Environment) -> None:
        self.seen = seen
        super().__init__(f"environment {seen.slug} moved on from generation {seen.generation}, {seen.phase}")


@dataclass(frozen=True)
class Notice:
    """Something to tell the owner once."""

    kind: str
    text: str
    once: str


@dataclass(frozen=True)
class Finding:
    """What was found about one environment, and what follows from it."""

    phase: Phase
    stages: Sequence[StageMark] = ()
    values: dict[str, Any] = field(default_factory=dict)
    settled: bool = False  # the present wish is fulfilled, or given up
    activity: str = ""
    detail: str = ""
    result: str = "ok"
    notice: Notice | None = None


class Recorder:
    """Writes findings and rings for everybody who shows them."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._stages: dict[UUID, tuple[int, tuple[StageMark, ...]]] = {}
        self._lock: tuple[str, Lock] | None = None

    async def load(self, environment_id: UUID) -> tuple[Environment | None, datetime]:
        """The row as it is now, and the database's time."""
        async with self._database.reading() as work:
            return await work.environments.by_id(environment_id), await work.now()

    async def standing(self, environment_ids: Collection[UUID]) -> tuple[dict[UUID, StandingRow], datetime]:
        """How environments stand that have a row, and the database's time."""
        async with self._database.reading() as work:
            return await work.environments.standing(environment_ids), await work.now()

    async def record(self, seen: Environment, finding: Finding) -> None:
        """Write a finding about the row as ``seen``; raises MovedOn when it is something else by now."""
        if self._says_nothing(seen, finding):
            return
        row, changed = await self._written(seen, finding)
        self._stages[seen.id] = (seen.run, tuple(finding.stages))
        if changed:
            await self.ring(row)

    @retried
    async def _written(self, seen: Environment, finding: Finding) -> tuple[Environment, bool]:
        async with self._database.transaction() as work:
            row = await _claimed(work, seen)
            now = await work.now()
            changed = await self._apply(work, row, finding, now)
            if finding.activity:
                note_activity(
                    work,
                    SYSTEM,
                    finding.activity,
                    now,
                    owner_id=row.owner_id,
                    environment=row,
                    detail=finding.detail,
                    result=finding.result,
                )
            if finding.notice is not None:
                note = finding.notice
                changed |= await tell(work, note.kind, now, environment=row, text=note.text, once=note.once)
            return row, changed

    def forget(self, environment_id: UUID) -> None:
        """Let go of what was remembered about an environment at rest."""
        self._stages.pop(environment_id, None)

    async def keep_lock(self, seen: Environment, lock: Lock, resolving: StageMark) -> Environment | None:
        """Give the row the lock that its source was resolved to; the row as it is then, or None when it moved on."""
        row = await self._lock_kept(seen, lock, resolving)
        if row is not None:
            await self.ring(row)
        return row

    @retried
    async def _lock_kept(self, seen: Environment, lock: Lock, resolving: StageMark) -> Environment | None:
        async with self._database.transaction() as work:
            row = await work.environments.by_id(seen.id, lock=True)
            if row is None or not _is_still(row, seen) or row.lock_digest is not None:
                return None
            now = await work.now()
            await work.environments.keep_lock(
                PackageLock(
                    digest=lock.digest, python=lock.python, packages=lock.packages, text=lock.text, created_at=now
                )
            )
            await work.flush()
            row.lock_digest = lock.digest
            await _put_stages(work, row, [resolving])
            return row

    async def keep_image(self, seen: Environment, image: PinnedImage, resolving: StageMark) -> Environment | None:
        """Give the row the image that its source was resolved to; the row as it is then, or None when it moved on."""
        row = await self._image_kept(seen, image, resolving)
        if row is not None:
            await self.ring(row)
        return row

    @retried
    async def _image_kept(self, seen: Environment, image: PinnedImage, resolving: StageMark) -> Environment | None:
        async with self._database.transaction() as work:
            row = await work.environments.by_id(seen.id, lock=True)
            if row is None or not _is_still(row, seen) or row.image is not None:
                return None
            row.image = asdict(image)
            await _put_stages(work, row, [resolving])
            return row

    async def tier_of(self, row: Environment) -> Tier:
        """The tier that the row's owner has now."""
        async with self._database.reading() as work:
            owner = await work.users.by_id(row.owner_id)
        if owner is None:
            raise RuntimeError(f"the owner of {row.slug} is missing")
        return Tier(owner.tier)

    async def lock_of(self, row: Environment) -> Lock | None:
        """The lock of the row's packages."""
        if row.lock_digest is None:
            return None
        # A lock never changes under its digest, and people often launch the same thing one after the other.
        if self._lock is not None and self._lock[0] == row.lock_digest:
            return self._lock[1]
        async with self._database.reading() as work:
            kept = await work.environments.lock_by_digest(row.lock_digest)
        if kept is None:
            return None
        lock = Lock(kept.text, kept.python, kept.packages)
        self._lock = (kept.digest, lock)
        return lock

    async def ask_to_stop(self, seen: Environment, reason: StopReason, due: Due | None = None) -> bool:
        """Make the platform itself want the environment stopped, with the reason shown; says whether it does now.

        ``due`` is asked about the claimed row and the time then: an extension may have come between.
        """
        row = await self._stop_wanted(seen, reason, due)
        if row is None:
            return False
        await self.ring(row)
        return True

    @retried
    async def _stop_wanted(self, seen: Environment, reason: StopReason, due: Due | None) -> Environment | None:
        async with self._database.transaction() as work:
            row = await work.environments.by_id(seen.id, lock=True)
            if row is None or not _is_still(row, seen) or (due is not None and not due(row, await work.now())):
                return None
            row.desired = Desired.STOPPED.value
            row.generation += 1
            row.stop_reason = reason.value
            return row

    async def begin_again(self, seen: Environment, ending: Ending) -> bool:
        """Put a run that the cluster took away into the queue as a new one; False when it has begun again too often.

        Its time goes on where it was: what it ran already is not given back, what it waits now is not taken.
        """
        row = await self._begun_again(seen, ending)
        if row is None:
            return False
        await self.ring(row)
        return True

    @retried
    async def _begun_again(self, seen: Environment, ending: Ending) -> Environment | None:
        async with self._database.transaction() as work:
            row = await _claimed(work, seen)
            owner = await work.users.by_id(row.owner_id)
            if owner is None or owner.disabled_at is not None:
                return None
            now = await work.now()
            ran_seconds = _ran_seconds(row, ending, now)
            if row.restarts >= MOST_RESTARTS or row.uptime_seconds + row.extra_seconds - ran_seconds < WORTH_SECONDS:
                return None
            if not may_follow(Phase(row.phase), Phase.QUEUED):
                raise ValueError(f"{Phase.QUEUED} may not follow {row.phase}")
            log.info(
                "phase", environment=row.slug, run=row.run, was=row.phase, phase="queued", reason=ending.reason.value
            )
            note_activity(work, SYSTEM, "restarted", now, owner_id=row.owner_id, environment=row, detail=ending.what)
            text = f"{row.name} was restarted. {ending.what} {words.RESTARTED}"
            await tell(work, "restarted", now, environment=row, text=text, once=f"restarted:{row.id}:{row.run}")
            row.run += 1
            row.restarts += 1
            row.generation += 1
            row.extra_seconds -= ran_seconds
            row.phase, row.phase_since, row.asked_at = Phase.QUEUED.value, now, now
            row.running_since = row.last_seen_at = row.protection = None
            row.endpoint_host, row.endpoint_port = "", 0
            return row

    async def warn(self, seen: Environment, due: Callable[[Environment, datetime], Notice | None]) -> bool:
        """Tell the owner about the deadline, once; says whether it was new.

        ``due`` is asked about the claimed row and the time then, so that a late warning is none.
        """
        new = await self._warned(seen, due)
        if new:
            await self.ring(seen)
        return new

    @retried
    async def _warned(self, seen: Environment, due: Callable[[Environment, datetime], Notice | None]) -> bool:
        async with self._database.transaction() as work:
            row = await work.environments.by_id(seen.id, lock=True)
            now = await work.now()
            notice = due(row, now) if row is not None and _is_still(row, seen) else None
            if row is None or notice is None:
                return False
            new = await tell(work, notice.kind, now, environment=row, text=notice.text, once=notice.once)
            if new:
                note_activity(work, SYSTEM, "warned", now, owner_id=row.owner_id, environment=row, detail=notice.text)
            return new

    async def ring(self, row: Environment) -> None:
        """Tell pages, the gate, and whoever waits for this environment."""
        await self._bus.publish(Ring("gate", str(row.id)))
        await self._bus.publish(Ring(f"environment:{row.id}", row.phase))
        await self._bus.publish(Ring(f"user:{row.owner_id}", f"environment:{row.id}"))

    def _says_nothing(self, seen: Environment, finding: Finding) -> bool:
        """Whether it repeats what this recorder wrote last about this run: a runtime tells many things twice."""
        if finding.values or finding.settled or finding.activity or finding.notice is not None:
            return False
        if finding.phase != seen.phase:
            return False
        run, stages = self._stages.get(seen.id, (0, ()))
        return run == seen.run and (not finding.stages or stages == tuple(finding.stages))

    async def _apply(self, work: Work, row: Environment, finding: Finding, now: datetime) -> bool:
        changed = await _put_stages(work, row, finding.stages)
        if finding.phase != row.phase:
            if not may_follow(Phase(row.phase), finding.phase):
                raise ValueError(f"{finding.phase} may not follow {row.phase}")
            log.info(
                "phase",
                environment=row.slug,
                run=row.run,
                was=row.phase,
                phase=finding.phase.value,
                reason=finding.values.get("reason_code", ""),
                operation_id=row.operation_id,
            )
            row.phase, row.phase_since = finding.phase.value, now
            changed = True
        if finding.settled and row.observed_generation != row.generation:
            row.observed_generation = row.generation
            changed = True
        for name, value in finding.values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
                changed = True
        return changed


Due = Callable[[Environment, datetime], bool]


def _ran_seconds(row: Environment, ending: Ending, now: datetime) -> int:
    """How much of its time a run used, until it was taken away."""
    if row.running_since is None:
        return 0
    ended_at = ending.ended_at
    # A run that ended before it came up is one of which nobody knows when it ended.
    until = now if ended_at is None or ended_at <= row.running_since else min(ended_at, now)
    return max(0, int((until - row.running_since).total_seconds()))


def _is_still(row: Environment, seen: Environment) -> bool:
    return row.gone_at is None and (row.generation, row.run, row.phase, row.observed_generation) == (
        seen.generation,
        seen.run,
        seen.phase,
        seen.observed_generation,
    )


async def _claimed(work: Work, seen: Environment) -> Environment:
    """The row, locked until the transaction ends; raises MovedOn when it is not what was seen."""
    row = await work.environments.by_id(seen.id, lock=True)
    if row is None or not _is_still(row, seen):
        raise MovedOn(seen)
    return row


async def _put_stages(work: Work, row: Environment, stages: Sequence[StageMark]) -> bool:
    return await work.environments.put_stages(row.id, row.run, [_launch_stage(row, mark) for mark in stages])


def _launch_stage(row: Environment, mark: StageMark) -> LaunchStage:
    return LaunchStage(
        environment_id=row.id,
        application_id=row.application_id,
        run=row.run,
        stage=mark.stage.value,
        started_at=mark.started_at,
        ended_at=mark.ended_at,
        done=mark.done,
        total=mark.total,
        unit=mark.unit,
        detail=mark.detail[:300],
        failed=mark.failed,
    )


def queued(row: Environment, now: datetime) -> StageMark:
    """The time between the click and the controller's first act."""
    return StageMark(Stage.QUEUED, row.asked_at, max(now, row.asked_at))
