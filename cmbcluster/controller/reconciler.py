"""One look at one environment: compare what is wanted with what is, and take one step.

Every method may be killed after any line and run again. A decision is based on a live look
at the runtime alone; what cannot be seen is unknown, and unknown stops nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from cmbcluster.controller import words
from cmbcluster.controller.checkpoints import Checkpoint, Probe, reach_nothing
from cmbcluster.controller.contents import Contents, ref_of
from cmbcluster.controller.recorder import Finding, MovedOn, Notice, Recorder, queued
from cmbcluster.controller.resolutions import Resolution, Resolutions
from cmbcluster.controller.uptime import Uptime
from cmbcluster.db.models import Environment
from cmbcluster.domain.lifecycle import AT_REST, TAKEN_BY_CLUSTER, Desired, Phase, Stage, StopReason
from cmbcluster.errors import (
    BuildFailed,
    CMBClusterError,
    Conflict,
    PackagesUnavailable,
    RegistryUnavailable,
    RuntimeUnavailable,
)
from cmbcluster.runtime.port import Ending, Insight, Observation, Ref, Runtime, Sight, StageMark

log = structlog.get_logger("cmbcluster.controller")

LOOK_AGAIN_SECONDS = 5.0  # The runtime tells of changes; this repairs what it forgot to tell.
STOPPING_LOOK_SECONDS = 1.0
SILENT_TRIES = 3

Handler = Callable[[Environment, Observation, datetime], Awaitable[float | None]]


class Reconciler:
    """``reconcile`` returns after how many seconds to look again, or None when a ring will tell."""

    def __init__(
        self,
        recorder: Recorder,
        runtime: Runtime,
        insight: Insight,
        resolutions: Resolutions,
        contents: Contents,
        reach: Probe = reach_nothing,
    ) -> None:
        self._recorder = recorder
        self._runtime = runtime
        self._insight = insight
        self._resolutions = resolutions
        self._contents = contents
        self._reach = reach
        self._uptime = Uptime(recorder, reach)
        self._silent: dict[UUID, int] = {}
        self._seen_at: dict[UUID, datetime] = {}
        self._handlers: dict[Sight, Handler] = {
            Sight.ABSENT: self._begin,
            Sight.BUILDING: self._building,
            Sight.STARTING: self._starting,
            Sight.RUNNING: self._running,
            Sight.STOPPING: self._ending,
            Sight.EXITED: self._exited,
            Sight.UNKNOWN: self._unseen,
        }

    async def reconcile(self, environment_id: UUID) -> float | None:
        """Take one step for one environment."""
        try:
            return await self._step(environment_id)
        except MovedOn as late:
            return await self._end_unwanted(late.seen)

    async def _end_unwanted(self, seen: Environment) -> float:
        """Stop a run that we may have started for a row that wanted it no more, and look again."""
        row, _ = await self._recorder.load(seen.id)
        # A run that came to rest, or has a successor, is never wanted again.
        if row is None or row.run != seen.run or row.gone_at is not None or row.phase in AT_REST:
            await self._runtime.stop(ref_of(seen))
        return 0.0

    async def _step(self, environment_id: UUID) -> float | None:
        row, now = await self._recorder.load(environment_id)
        if row is None or row.gone_at is not None:
            self._forget(environment_id)
            return None
        settled = row.observed_generation == row.generation
        if row.phase in AT_REST and settled:
            self._forget(environment_id)
            return None
        if row.desired == Desired.RUNNING:
            if not self._contents.is_known(row):
                return await self._resolve(row, now)
            return await self._handle(row, now)
        self._resolutions.drop(environment_id)
        return await self._toward_rest(row, now)

    def _forget(self, environment_id: UUID) -> None:
        self._resolutions.drop(environment_id)
        self._recorder.forget(environment_id)
        self._silent.pop(environment_id, None)
        self._seen_at.pop(environment_id, None)

    # ---- toward running ----

    async def _resolve(self, row: Environment, now: datetime) -> float | None:
        """Turn the source into a lock or a pinned image, beside the workers."""
        resolution = self._resolutions.find(row.id, row.run)
        if resolution is None:
            resolution = self._resolutions.begin(row.id, row.run, await self._contents.resolving(row), now)
            stages = [StageMark(Stage.RESOLVING, now)]
            if row.phase == Phase.QUEUED:
                stages.insert(0, queued(row, now))
            await self._recorder.record(row, Finding(Phase.PULLING, stages))
            self._reach(Checkpoint.RESOLUTION_RECORDED)
            return None
        if not resolution.task.done():
            return None
        return await self._resolved(row, resolution, now)

    async def _resolved(self, row: Environment, resolution: Resolution, now: datetime) -> float | None:
        try:
            found = resolution.task.result()
        except (PackagesUnavailable, RegistryUnavailable) as silent:
            self._resolutions.drop(row.id)
            tries = self._silent[row.id] = self._silent.get(row.id, 0) + 1
            if tries < SILENT_TRIES:
                raise
            log.warning("source_silent", environment=row.slug, error=str(silent), operation_id=row.operation_id)
            said = words.REGISTRY_SILENT if isinstance(silent, RegistryUnavailable) else words.INDEX_SILENT
            return await self._fail(row, Ending(StopReason.RESOLVE_FAILED, *said), [_failed(resolution, now)])
        except BuildFailed as failed:
            self._resolutions.drop(row.id)
            reason = getattr(failed, "reason", StopReason.RESOLVE_FAILED)
            ending = Ending(reason, failed.what, failed.then, failed.log_tail)
            return await self._fail(row, ending, [_failed(resolution, now)])
        self._reach(Checkpoint.BEFORE_LOCK_KEPT)
        fresh = await self._contents.keep(row, resolution, found, now)
        self._resolutions.drop(row.id)
        self._reach(Checkpoint.LOCK_KEPT)
        return 0.0 if fresh is None else await self._handle(fresh, now)

    async def _handle(self, row: Environment, now: datetime) -> float | None:
        if row.phase == Phase.RUNNING and (heard_at := self._runtime.heard_running(ref_of(row))) is not None:
            # Nothing has to be decided but whether its time is over.
            self._seen_at[row.id] = heard_at
            return await self._uptime.look(row, now)
        observation = await self._look(row, now)
        if observation.sight in (Sight.BUILDING, Sight.STARTING, Sight.RUNNING):
            self._seen_at[row.id] = observation.seen_at
            if row.phase == Phase.QUEUED:
                # It was started before we could write that down.
                return await self._leave_queue(row, observation, now)
        return await self._handlers[observation.sight](row, observation, now)

    async def _look(self, row: Environment, now: datetime) -> Observation:
        try:
            return await self._runtime.look(ref_of(row))
        except RuntimeUnavailable:
            return Observation(ref_of(row), Sight.UNKNOWN, now)

    async def _begin(self, row: Environment, _observation: Observation, now: datetime) -> float | None:
        """Nothing is there: start it, unless it was running and is lost."""
        if _has_run(row):
            return await self._fail(row, Ending(StopReason.LOST, *words.LOST))
        spec = await self._contents.spec(row)
        self._reach(Checkpoint.BEFORE_START)
        try:
            await self._runtime.start(spec)
        except Conflict:
            # An older run of this environment is still going down.
            await self._runtime.stop(Ref(row.id, row.slug, row.run - 1))
            return STOPPING_LOOK_SECONDS
        self._reach(Checkpoint.STARTED)
        # What was written last may have been long ago: the next finding is compared with the row.
        self._recorder.forget(row.id)
        observation = await self._look(row, now)
        if observation.sight is Sight.ABSENT:
            return STOPPING_LOOK_SECONDS
        if row.phase == Phase.QUEUED:
            return await self._leave_queue(row, observation, now)
        return await self._handlers[observation.sight](row, observation, now)

    async def _leave_queue(self, row: Environment, seen: Observation, now: datetime) -> float | None:
        """The way from the queue leads over *pulling*, however far the run got meanwhile."""
        await self._recorder.record(row, Finding(Phase.PULLING, [queued(row, now), *seen.stages]))
        return 0.0

    async def _still(self, row: Environment, now: datetime, look_seconds: float = LOOK_AGAIN_SECONDS) -> float:
        """When to look again at what is not seen to run: slow is not stopped, and its time goes on all the same."""
        if not _has_run(row):
            return look_seconds
        due_seconds = await self._uptime.look(row, now)
        return look_seconds if due_seconds is None else min(look_seconds, due_seconds)

    async def _building(self, row: Environment, seen: Observation, now: datetime) -> float | None:
        if _has_run(row):
            return await self._still(row, now)
        await self._recorder.record(row, Finding(Phase.PULLING, seen.stages))
        return LOOK_AGAIN_SECONDS

    async def _starting(self, row: Environment, seen: Observation, now: datetime) -> float | None:
        if _has_run(row):
            return await self._still(row, now)
        await self._recorder.record(row, Finding(Phase.STARTING, seen.stages, _protection(seen)))
        return LOOK_AGAIN_SECONDS

    async def _running(self, row: Environment, seen: Observation, now: datetime) -> float | None:
        if row.phase == Phase.RUNNING:
            return await self._uptime.look(row, now)
        if seen.endpoint is None:
            return await self._still(row, now)
        first = row.running_since is None
        values = {
            **_protection(seen),
            "endpoint_host": seen.endpoint.host,
            "endpoint_port": seen.endpoint.port,
            "running_since": row.running_since or now,
            "last_seen_at": seen.seen_at,
        }
        after = words.duration((now - row.asked_at).total_seconds())
        notice = Notice("running", f"{row.name} is running. Ready after {after}.", f"running:{row.id}:{row.run}")
        self._reach(Checkpoint.BEFORE_RUNNING_RECORDED)
        await self._recorder.record(
            row,
            Finding(
                Phase.RUNNING,
                seen.stages,
                values,
                settled=True,
                activity="running" if first else "",
                detail=f"Ready after {after}" if first else "",
                notice=notice if first else None,
            ),
        )
        self._reach(Checkpoint.RUNNING_RECORDED)
        return 0.0

    async def _ending(self, row: Environment, _seen: Observation, now: datetime) -> float | None:
        return await self._still(row, now, STOPPING_LOOK_SECONDS)

    async def _exited(self, row: Environment, seen: Observation, _now: datetime) -> float | None:
        ending = seen.ending or Ending(StopReason.LOST, *words.LOST)
        ran = row.running_since is not None
        if ending.reason is StopReason.EXITED and ending.exit_code == 0 and ran:
            values = {**_reason(ending.reason, *words.stopped(ending.reason, 0)), **_at_rest()}
            values.update(await self._measured(row))
            finding = Finding(Phase.STOPPED, seen.stages, values, settled=True, activity="stopped")
            await self._recorder.record(row, finding)
            return None
        if ending.reason in TAKEN_BY_CLUSTER and await self._recorder.begin_again(row, ending):
            return 0.0
        return await self._fail(row, ending, seen.stages)

    async def _unseen(self, row: Environment, _seen: Observation, now: datetime) -> float | None:
        if row.phase == Phase.RUNNING:
            values = {"last_seen_at": self._seen_at.get(row.id, row.last_seen_at)}
            await self._recorder.record(row, Finding(Phase.UNKNOWN, values=values))
            # Its time is looked at with the row as it is now.
            return 0.0
        return await self._still(row, now)

    async def _fail(self, row: Environment, ending: Ending, stages: Sequence[StageMark] = ()) -> float | None:
        values = {
            **_reason(ending.reason, ending.what, ending.then, ending.log_tail),
            **_at_rest(),
            **await self._measured(row),
        }
        when = "while starting" if row.running_since is None else "while running"
        await self._recorder.record(
            row,
            Finding(
                Phase.FAILED,
                stages,
                values,
                settled=True,
                activity="failed",
                detail=ending.what,
                result="failed",
                notice=Notice("failed", f"{row.name} failed {when}. {ending.what}", f"failed:{row.id}:{row.run}"),
            ),
        )
        return None

    # ---- toward rest ----

    async def _toward_rest(self, row: Environment, now: datetime) -> float | None:
        if row.phase == Phase.DELETING:
            return await self._remove(row, now)
        observation = await self._look(row, now)
        if observation.sight is Sight.UNKNOWN:
            return LOOK_AGAIN_SECONDS
        if observation.sight in (Sight.ABSENT, Sight.EXITED):
            if row.desired == Desired.DELETED:
                return await self._delete(row)
            if observation.sight is Sight.ABSENT:
                # Whoever was to start it may have made a part of it.
                await self._runtime.stop(ref_of(row))
            return await self._stopped(row, observation)
        self._reach(Checkpoint.BEFORE_STOP)
        await self._runtime.stop(ref_of(row))
        self._reach(Checkpoint.STOP_ASKED)
        if row.phase != Phase.STOPPING and row.phase not in AT_REST:
            await self._recorder.record(row, Finding(Phase.STOPPING))
            self._reach(Checkpoint.STOPPING_RECORDED)
        return STOPPING_LOOK_SECONDS

    async def _stopped(self, row: Environment, seen: Observation) -> float | None:
        reason = StopReason(row.stop_reason or StopReason.ASKED)
        what, then = words.stopped(reason, row.uptime_seconds + row.extra_seconds)
        values = {**_reason(reason, what, then), **_at_rest(), **await self._measured(row)}
        kind = "cancelled" if reason is StopReason.CANCELLED else "stopped"
        told = reason in (StopReason.DEADLINE, StopReason.PLATFORM_STOPPED)
        notice = Notice("stopped", f"{row.name} stopped. {what}", f"stopped:{row.id}:{row.run}") if told else None
        self._reach(Checkpoint.BEFORE_STOPPED_RECORDED)
        await self._recorder.record(
            row,
            Finding(Phase.STOPPED, seen.stages, values, settled=True, activity=kind, detail=what, notice=notice),
        )
        return None

    async def _delete(self, row: Environment) -> float | None:
        await self._recorder.record(row, Finding(Phase.DELETING, values=_at_rest()))
        self._reach(Checkpoint.DELETING_RECORDED)
        return 0.0

    async def _remove(self, row: Environment, now: datetime) -> float | None:
        try:
            await self._runtime.remove(ref_of(row), workspace=row.remove_workspace)
        except Conflict:
            await self._runtime.stop(ref_of(row))
            return STOPPING_LOOK_SECONDS
        self._reach(Checkpoint.REMOVED)
        await self._recorder.record(row, Finding(Phase.GONE, values={"gone_at": now}, settled=True))
        self._forget(row.id)
        return None

    async def _measured(self, row: Environment) -> dict[str, Any]:
        """The workspace's size, taken when an environment comes to rest."""
        try:
            size = await self._insight.workspace_bytes(ref_of(row))
        except (CMBClusterError, OSError, RecursionError):
            # A size nobody could take is no reason not to come to rest.
            return {}
        if size is None:
            return {}
        return {"measured_bytes": size, "measured_at": (await self._recorder.load(row.id))[1]}


def _has_run(row: Environment) -> bool:
    """Whether the row's present run came up, whatever is seen of it now."""
    return row.phase in (Phase.RUNNING, Phase.UNKNOWN) and row.running_since is not None


def _failed(resolution: Resolution, now: datetime) -> StageMark:
    return StageMark(Stage.RESOLVING, resolution.began_at, now, failed=True)


def _protection(seen: Observation) -> dict[str, Any]:
    return {"protection": asdict(seen.protection)} if seen.protection is not None else {}


def _reason(code: StopReason, what: str, then: str, log_tail: str = "") -> dict[str, Any]:
    return {
        "reason_code": code.value,
        "reason_what": what[:500],
        "reason_then": then[:500],
        # PostgreSQL keeps every character but this one.
        "reason_log_tail": log_tail[-8000:].replace("\0", "\ufffd"),
    }


def _at_rest() -> dict[str, Any]:
    """What is true of everything that does not run."""
    return {"endpoint_host": "", "endpoint_port": 0}
