"""One run from its build to its end, driven by one task.

The task is only the driver: what is true is in the run's folder and in the process tree,
so it can be dropped at any line and another platform goes on from there. It must never
call a run ended while a process of it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from cmbcluster.domain.lifecycle import Stage
from cmbcluster.errors import StartRefused
from cmbcluster.packages import sentences
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.runtime.local import endings
from cmbcluster.runtime.local.finishing import Build
from cmbcluster.runtime.local.launching import launch_file
from cmbcluster.runtime.local.limits import Plan
from cmbcluster.runtime.local.machine import Machine, PortTaken, Way
from cmbcluster.runtime.local.process_tree import is_alive, start_ticks
from cmbcluster.runtime.local.run_folder import EnvironmentFolder, Record, RunFolder, Status
from cmbcluster.runtime.local.supervision import LAUNCH, remove_cgroup
from cmbcluster.runtime.local.usage import Meter
from cmbcluster.runtime.local.waiting import until_closed, until_gone, until_it_answers
from cmbcluster.runtime.port import Ending, Endpoint, Observation, Packages, Sight, Spec, StageMark

TRIES = 4
STATUS_SECONDS = 10.0
FORCE_AFTER_SECONDS = 15.0
_log = logging.getLogger(__name__)


class Run:
    """One run. Made by the runtime for a new spec, or for what it finds after a restart."""

    def __init__(self, machine: Machine, record: Record, on_change: Callable[[Run], None]) -> None:
        self.machine = machine
        self.record = record
        self.folder = EnvironmentFolder(machine.environments, record.slug)
        self.files: RunFolder = self.folder.run(record.generation)
        self.meter = Meter()
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self._force: asyncio.TimerHandle | None = None
        self._spawning = False

    def begin(self, spec: Spec) -> None:
        """Build, start and follow."""
        self._drive(lambda: self._launch(spec))

    def adopt(self) -> None:
        """Follow what runs already."""
        self._drive(self._follow)

    def _drive(self, work: Callable[[], Awaitable[None]]) -> None:
        self._task = asyncio.create_task(self._guarded(work), name=f"run {self.record.slug}")
        self._task.add_done_callback(self._driven)

    def _driven(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and self.record.stop_asked_at is not None and self.record.spawned_at is None:
            self._end(endings.cancelled())

    async def detach(self) -> None:
        """Stop following; a build under way is given up, a process goes on."""
        if self._force is not None:
            self._force.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def finish(self) -> None:
        """For a run that is over: let the driver write down the end and clear away what is left."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STATUS_SECONDS)
        await self.detach()

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run lives or will."""
        return self.sight()[0] is Sight.EXITED

    def ask_to_stop(self) -> None:
        """End the build, or tell the supervisor; force follows after the grace."""
        if self.record.stop_asked_at is not None or self.record.ending is not None:
            return
        self.record.stop_asked_at = _now()
        if self.record.spawned_at is None and not self._spawning:
            if self._task is not None:
                self._task.cancel()
            return
        self._write()
        self._tell_supervisor()
        self._on_change(self)

    def observation(self) -> Observation:
        """What is there now, from the files and the processes."""
        sight, ending = self.sight()
        record = self.record
        reachable = sight in (Sight.STARTING, Sight.RUNNING) and record.outer_port
        return Observation(
            ref=record.ref,
            sight=sight,
            seen_at=_now(),
            endpoint=Endpoint(record.outer_host, record.outer_port) if reachable else None,
            stages=record.stages,
            protection=record.protection,
            ending=ending,
        )

    def sight(self) -> tuple[Sight, Ending | None]:
        """The state and, for an ended run, how it ended."""
        record = self.record
        status = self.files.status() if record.spawned_at is not None else None
        alive = status is not None and status.alive
        if record.ending is not None and not alive:
            return Sight.EXITED, record.ending
        if status is None:
            if self._task is None or self._task.done():
                return Sight.ABSENT, None
            if record.stop_asked_at is not None:
                return Sight.STOPPING, None
            return Sight.BUILDING if record.spawned_at is None else Sight.STARTING, None
        if not alive:
            if self._task is not None and not self._task.done() and self._may_try_again(status):
                return Sight.STARTING, None
            return Sight.EXITED, endings.of_status(record, status, self.files.tail())
        if record.stop_asked_at is not None or record.never_ready:
            return Sight.STOPPING, None
        return Sight.RUNNING if record.ready_at is not None else Sight.STARTING, None

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run the driver; whatever goes wrong becomes an ending, never a silent run."""
        try:
            await work()
        except PackagesFailed as failed:
            await self._build_failed(failed)
        except PortTaken as taken:
            what = f"Port {taken.port} is in use on this machine."
            self._end(endings.of_start(what, "Stop what uses it, or write {port} in the command for any free port."))
        except StartRefused as refused:
            self._end(endings.of_start(str(refused), "Ask whoever runs this machine."))
        except OSError as wrong:
            _log.exception("run could not be started", extra={"environment": self.record.slug})
            if wrong.errno == errno.ENOSPC:
                self._end(endings.of_build(sentences.disk_full()))
            else:
                what = f"It could not be started: {wrong.strerror}."
                self._end(endings.of_start(what, "Try again, or ask whoever runs this machine."))
        except Exception:
            _log.exception("run failed", extra={"environment": self.record.slug})
            what = "It could not be started because of an error in the platform."
            self._end(endings.of_start(what, "Try again; the platform's log has the details."))

    async def _launch(self, spec: Spec) -> None:
        content = spec.content
        if not isinstance(content, Packages):
            raise StartRefused("Container images do not run here: this platform starts processes of one machine.")
        await self.machine.probe_again()
        await asyncio.to_thread(self._prepare)
        for attempt in range(TRIES):
            async with self.machine.builds.ready(content.source, content.lock, self._marks_changed) as build:
                await self._spawn(spec, build)
            status = await self._until_over()
            if attempt + 1 == TRIES or not self._may_try_again(status):
                break
            if endings.NETWORK_GONE.search(self.files.tail()):
                await self.machine.probe_again(at_once=True)
            await asyncio.to_thread(self.machine.prepare_environment, self.record.slug)
        await self._close_the_books()

    def _prepare(self) -> None:
        self.machine.prepare_environment(self.record.slug)
        self.files.make()
        self.files.clear()
        self._write()
        self.folder.prune()

    async def _spawn(self, spec: Spec, build: Build) -> None:
        """Write the launch file and start a supervisor. Not divisible: a stop waits for its end."""
        self._spawning = True
        try:
            begun = _now()
            way = self.machine.way_for(spec)
            spawning = asyncio.ensure_future(asyncio.to_thread(self._spawn_now, spec, build, way, begun))
            try:
                started = await asyncio.shield(spawning)
            except asyncio.CancelledError:
                os.close(await spawning)
                raise
        finally:
            self._spawning = False
        self._on_change(self)
        if self.record.stop_asked_at is not None:
            self._tell_supervisor()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STATUS_SECONDS):
                await until_closed(started)
        self._mark(StageMark(Stage.STARTING, begun, _now()), StageMark(Stage.PORT, _now()))

    def _spawn_now(self, spec: Spec, build: Build, way: Way, begun: datetime) -> int:
        self.files.clear()
        plan = self.machine.limiter.plan(spec)
        try:
            return self._spawn_within(plan, spec, build, way, begun)
        except BaseException:
            # Nobody read what the program was to be told, and nobody lives in its control groups.
            (self.files.path / LAUNCH).unlink(missing_ok=True)
            for group in plan.cgroups:
                remove_cgroup(group)
            raise

    def _spawn_within(self, plan: Plan, spec: Spec, build: Build, way: Way, begun: datetime) -> int:
        self.files.write_launch(launch_file(self.machine, spec, build, self.folder, way, plan))
        record = self.record
        record.outer_host, record.outer_port = way.host, way.outer_port
        record.build, record.cgroups = build.name, plan.cgroups
        record.protection = self.machine.protection
        record.spawned_at = begun
        stages = [mark for mark in record.stages if mark.stage not in (Stage.STARTING, Stage.PORT)]
        record.stages = (*stages, StageMark(Stage.STARTING, begun))
        self._write()
        spawned = self.machine.nursery.spawn(self.files.path)
        record.supervisor = spawned.pid
        return spawned.started

    async def _follow(self) -> None:
        """For a run found after a restart: wait for readiness and for the end, then write it down."""
        await self._until_over()
        await self._close_the_books()

    async def _until_over(self) -> Status | None:
        """Wait for the supervisor's end; on the way, for the first answer."""
        status = await self._first_status()
        if status is None:
            return None
        gone = asyncio.create_task(until_gone(status.supervisor, status.supervisor_ticks))
        try:
            if self.record.ready_at is None and not self.record.never_ready:
                await self._until_ready(gone)
            if self.record.stop_asked_at is not None or self.record.never_ready:
                # A stop asked for by an earlier platform may not have reached the supervisor.
                self._tell_supervisor()
            await gone
        finally:
            gone.cancel()
            await asyncio.wait([gone])
        return self.files.status()

    async def _first_status(self) -> Status | None:
        """The supervisor's first word; None when it never came to speak."""
        give_up_at = asyncio.get_running_loop().time() + STATUS_SECONDS
        while (status := self.files.status()) is None:
            if asyncio.get_running_loop().time() >= give_up_at or not self._may_still_speak():
                return self.files.status()
            await asyncio.sleep(0.01)
        return status

    def _may_still_speak(self) -> bool:
        pid = self.record.supervisor
        return bool(pid) and is_alive(pid, start_ticks(pid)) or self.files.is_held()

    async def _until_ready(self, gone: asyncio.Task[None]) -> None:
        record = self.record
        spent = (_now() - (record.spawned_at or _now())).total_seconds()
        answered = asyncio.create_task(until_it_answers(record.outer_host, record.outer_port, record.health_path))
        try:
            await asyncio.wait(
                {gone, answered},
                timeout=max(0.0, record.ready_within_seconds - spent),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            answered.cancel()
            await asyncio.wait([answered])
        if gone.done():
            self._finish_marks(failed=record.stop_asked_at is None)
        elif not answered.cancelled():
            record.ready_at = _now()
            self._finish_marks(failed=False)
            self._write()
            self._on_change(self)
        elif record.stop_asked_at is None:
            record.never_ready = True
            self._finish_marks(failed=True)
            self._write()
            self._on_change(self)

    def _may_try_again(self, status: Status | None) -> bool:
        """Whether the end came from a port or a network that went away under us, before the program began."""
        record = self.record
        if status is None or record.ready_at is not None or record.stop_asked_at is not None or record.never_ready:
            return False
        tail = self.files.tail()
        return bool(endings.PORT_TAKEN.search(tail) or endings.NETWORK_GONE.search(tail)) and bool(
            record.protection is not None and record.protection.level == "own-network"
        )

    async def _close_the_books(self) -> None:
        """Write down the ending; from here on the run is over for everybody."""
        if self._force is not None:
            self._force.cancel()
        status = self.files.status()
        for group in self.record.cgroups:
            # Usually the supervisor did it; one that was killed could not.
            await asyncio.to_thread(remove_cgroup, group)
        if status is None and self.record.stop_asked_at is None:
            said = await asyncio.to_thread(self.files.complaint)
            self._end(endings.of_start("It could not be started.", "See the last lines of its log.", said))
            return
        tail = await asyncio.to_thread(self.files.tail)
        self._end(endings.of_status(self.record, status, tail))

    async def _build_failed(self, failed: PackagesFailed) -> None:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self.files.write_output, failed.log_tail or failed.what)
        self._end(endings.of_build(failed))

    def _end(self, ending: Ending) -> None:
        self.record.ending = ending
        self._finish_marks(failed=self.record.stop_asked_at is None)
        with contextlib.suppress(OSError):
            # On a full disk the ending is known to this platform alone; the processes tell the next one.
            self._write()
        self._on_change(self)

    def _tell_supervisor(self) -> None:
        status = self.files.status()
        pid = status.supervisor if status is not None and status.alive else 0
        if status is None:
            pid = self.record.supervisor
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if self._force is None:
            seconds = self.machine.settings.local_stop_grace_seconds + FORCE_AFTER_SECONDS
            self._force = asyncio.get_running_loop().call_later(seconds, self._kill_supervisor)

    def _kill_supervisor(self) -> None:
        """The last resort: the kernel ends the program with its supervisor."""
        status = self.files.status()
        if status is not None and status.alive:
            _log.warning("supervisor did not end in time", extra={"environment": self.record.slug})
            with contextlib.suppress(ProcessLookupError):
                os.kill(status.supervisor, signal.SIGKILL)

    def _marks_changed(self, marks: tuple[StageMark, ...]) -> None:
        self.record.stages = marks
        self._on_change(self)

    def _mark(self, *marks: StageMark) -> None:
        stages = [mark for mark in self.record.stages if mark.stage not in {new.stage for new in marks}]
        self.record.stages = (*stages, *marks)
        self._write()
        self._on_change(self)

    def _finish_marks(self, *, failed: bool) -> None:
        self.record.stages = tuple(
            replace(mark, ended_at=_now(), failed=failed) if mark.ended_at is None else mark
            for mark in self.record.stages
        )

    def _write(self) -> None:
        self.files.write(self.record)


def _now() -> datetime:
    return datetime.now(UTC)
