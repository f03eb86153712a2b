"""The running controller: workers on a queue, a listener, an observer, and a sweep.

Rings and observations only wake a key; the sweep repairs whatever ring was lost. Nothing
is kept here that a restart would miss. Of several controllers over one database the holder of
the lease works and the others wait; two that work at once do no harm, see ``lease``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from uuid import UUID

import structlog

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.controller.checkpoints import Probe, reach_nothing
from cmbcluster.controller.contents import Contents
from cmbcluster.controller.lease import CONTROLLER, Lease
from cmbcluster.controller.orphans import GRACE_SECONDS, Orphans
from cmbcluster.controller.placements import read_placements
from cmbcluster.controller.reconciler import Reconciler
from cmbcluster.controller.recorder import Recorder
from cmbcluster.controller.resolutions import Resolutions
from cmbcluster.controller.uptime import quiet_seconds
from cmbcluster.controller.workqueue import WorkQueue
from cmbcluster.db.database import Database
from cmbcluster.db.environments import StandingRow
from cmbcluster.domain.lifecycle import AT_REST, Desired, Phase, StopReason
from cmbcluster.errors import CMBClusterError
from cmbcluster.runtime.port import Ref, Sight
from cmbcluster.settings import Settings
from cmbcluster.wiring import Parts

log = structlog.get_logger("cmbcluster.controller")

OBSERVE_AGAIN_SECONDS = 5.0
STOP_ALL_SECONDS = 60.0


class Controller:
    """Owns the tasks.

    ``reach`` is the crash tests' probe; without ``leased`` it works whoever else does;
    ``orphan_grace_seconds`` is how long what nobody knows is left alone.
    """

    def __init__(
        self,
        parts: Parts,
        reach: Probe = reach_nothing,
        *,
        leased: bool = True,
        orphan_grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._settings: Settings = parts.settings
        self._database: Database = parts.database
        self._bus: Bus = parts.bus
        self._runtime = parts.runtime
        self._recorder = Recorder(parts.database, parts.bus)
        self._queue: WorkQueue[UUID] = WorkQueue()
        self._resolutions = Resolutions(self._queue.add)
        settings = parts.settings
        placements = read_placements(settings.kubernetes_placement_file, settings.kubernetes_offline_tiers)
        contents = Contents(self._recorder, parts.resolver, parts.images, parts.registries, placements)
        self._reconciler = Reconciler(self._recorder, parts.runtime, parts.insight, self._resolutions, contents, reach)
        self._orphans = Orphans(self._recorder, parts.runtime, orphan_grace_seconds)
        self._tasks: list[asyncio.Task[None]] = []
        # Nobody else works on SQLite's file: its folder is held by one process.
        self._lease: Lease | None = None
        if leased and self._settings.on_postgresql:
            self._lease = Lease(self._database, CONTROLLER, self._settings.controller_lease_seconds)
        self._keeping: asyncio.Task[None] | None = None
        self._unlooked: set[UUID] = set()
        self._told_anyway: set[Ref] = set()
        self._began_at = 0.0

    async def open(self) -> None:
        """Begin to work, or to wait for the lease."""
        if self._lease is None:
            await self._begin()
            return
        self._keeping = asyncio.create_task(self._lease.keep(self._begin, self._end), name="controller lease")

    async def _begin(self) -> None:
        """Begin to work; what was under way before is looked at first."""
        self._began_at = time.monotonic()
        ready = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen(ready), name="controller listener")]
        await ready.wait()
        self._unlooked = await self._add_at_the_beginning()
        if not self._unlooked:
            self._say_in_step()
        self._tasks.append(asyncio.create_task(self._observe(), name="controller observer"))
        self._tasks.append(asyncio.create_task(self._sweep(), name="controller sweep"))
        for number in range(self._settings.controller_workers):
            self._tasks.append(asyncio.create_task(self._work(), name=f"controller worker {number}"))

    async def close(self, *, stop_environments: bool = False, told: Callable[[int], None] | None = None) -> bool:
        """Stop working; with ``stop_environments`` end every environment first.

        ``told`` is called with the number still to end. Returns False when some did not
        end within a minute; they are looked after by the next start.
        """
        ended = await self._stop_all(told) if stop_environments else True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        await self._end()
        if self._lease is not None:
            await self._lease.release()
        return ended

    async def _end(self) -> None:
        """Stop working; environments go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._resolutions.close()

    async def _listen(self, ready: asyncio.Event) -> None:
        async with self._bus.subscribe("controller") as rings:
            ready.set()
            async for ring in rings:
                await self._hear(ring)

    async def _hear(self, ring: Ring) -> None:
        """Wake what a ring is about, or everything when rings may have been missed."""
        try:
            if ring.about:
                self._queue.add(UUID(ring.about))
            else:
                await self._add_unsettled()
        except (ValueError, CMBClusterError) as failed:
            # A ring that is lost here is made good by the sweep; a listener that ended would not be.
            log.warning("ring_not_understood", error=str(failed))

    async def _observe(self) -> None:
        while True:
            try:
                async for observation in self._runtime.observe():
                    self._orphans.notice(observation)
                    if observation.ref in self._told_anyway:
                        # Everything that runs is told of once at the beginning; of this it was known.
                        self._told_anyway.discard(observation.ref)
                        if observation.sight is Sight.RUNNING:
                            continue
                    self._queue.add(observation.ref.environment_id)
            except CMBClusterError as failed:
                log.warning("observing_failed", error=str(failed))
            except Exception:
                # Whatever one observation led to, an observer that ended would be missed by all the others.
                log.exception("observing_failed")
            # Jitter keeps replicas that lost the same runtime from asking together.
            await asyncio.sleep(OBSERVE_AGAIN_SECONDS * (0.5 + random.random()))  # noqa: S311

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            try:
                await self._add_unsettled(but=self._is_steady)
                await self._orphans.sweep()
            except CMBClusterError as failed:
                log.warning("sweep_failed", error=str(failed))
            except Exception:
                # Whatever one object led to, a sweep that ended would be missed by everybody.
                log.exception("sweep_failed")

    async def _add_unsettled(self, but: Callable[[StandingRow], bool] | None = None) -> tuple[UUID, ...]:
        async with self._database.reading() as work:
            rows = await work.environments.unsettled()
        found = tuple(row.id for row in rows if but is None or not but(row))
        for environment_id in found:
            self._queue.add(environment_id)
        return found

    async def _add_at_the_beginning(self) -> set[UUID]:
        """Add everything, what is heard to run as was asked only for its time; those that are looked at now."""
        async with self._database.reading() as work:
            rows, now = await work.environments.unsettled(), await work.now()
        looked_at: set[UUID] = set()
        for row in rows:
            wait_seconds = quiet_seconds(row, now) if self._runs_as_asked(row) else None
            self._queue.add(row.id, wait_seconds or 0.0)
            if wait_seconds is None:
                looked_at.add(row.id)
            else:
                self._told_anyway.add(Ref(row.id, row.slug, row.run))
        return looked_at

    def _is_steady(self, row: StandingRow) -> bool:
        """Whether an environment needs no look: it runs as was asked, and the queue wakes it for its time."""
        # Without a time at which the queue wakes it, nobody would ever look at its deadline.
        return row.id in self._queue and self._runs_as_asked(row)

    def _runs_as_asked(self, row: StandingRow) -> bool:
        """Whether an environment runs, nothing else is wanted of it, and it is heard of."""
        is_running = row.phase == Phase.RUNNING and row.is_settled
        return is_running and self._runtime.heard_running(Ref(row.id, row.slug, row.run)) is not None

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                again_seconds = await self._reconciler.reconcile(key)
                self._queue.succeeded(key)
                if again_seconds is not None:
                    self._queue.add(key, again_seconds)
            except CMBClusterError as failed:
                delay_seconds = self._queue.retry(key)
                log.warning("retry", environment_id=str(key), error=str(failed), after_seconds=round(delay_seconds, 2))
            except Exception:
                # One broken environment must not end the worker of all the others.
                delay_seconds = self._queue.retry(key)
                log.exception("retry", environment_id=str(key), after_seconds=round(delay_seconds, 2))
            finally:
                self._queue.done(key)
                self._looked_at(key)

    def _looked_at(self, key: UUID) -> None:
        """Say once that everything which was under way at the beginning has been looked at."""
        if key in self._unlooked:
            self._unlooked.discard(key)
            if not self._unlooked:
                self._say_in_step()

    def _say_in_step(self) -> None:
        log.info("in_step", after_seconds=round(time.monotonic() - self._began_at, 2))

    async def _stop_all(self, told: Callable[[int], None] | None) -> bool:
        try:
            async with asyncio.timeout(STOP_ALL_SECONDS):
                while left := await self._ask_all_to_stop():
                    if told is not None:
                        told(left)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True

    async def _ask_all_to_stop(self) -> int:
        """Ask every environment that is not at rest to stop; returns how many there are."""
        left = 0
        async with self._database.reading() as work:
            rows = [await work.environments.by_id(each.id) for each in await work.environments.unsettled()]
        for row in rows:
            if row is None or (row.phase in AT_REST and row.desired != Desired.DELETED):
                continue
            left += 1
            if row.desired == Desired.RUNNING:
                await self._recorder.ask_to_stop(row, StopReason.PLATFORM_STOPPED)
            self._queue.add(row.id)
        return left
