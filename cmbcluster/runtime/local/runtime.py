"""The local runtime: the port's two contracts, kept with processes of this machine.

It finds what runs by itself after a restart, tells what it sees and does what it is told.
It must never stop an environment because *we* stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from cmbcluster.domain.views import UsageView
from cmbcluster.errors import Conflict, RuntimeUnavailable
from cmbcluster.packages.trees import remove_tree, size_of
from cmbcluster.runtime.listening import Listener
from cmbcluster.runtime.local.isolation import Isolation
from cmbcluster.runtime.local.logs import read_log
from cmbcluster.runtime.local.machine import Machine, open_machine
from cmbcluster.runtime.local.run import Run
from cmbcluster.runtime.local.run_folder import EnvironmentFolder, environment_folders, record_for
from cmbcluster.runtime.port import LogLine, Observation, Ref, Sight, Spec
from cmbcluster.settings import Settings

MEASURED_AGAIN_SECONDS = 15.0
_log = logging.getLogger(__name__)


class LocalRuntime:
    """Runtime and Insight over bubblewrap, pasta and a supervisor for each environment.

    ``open`` before anything else; ``close`` detaches and leaves environments running.
    ``at_level`` asks for a lower separation than the machine could have (for tests).
    """

    def __init__(self, settings: Settings, *, at_level: str | None = None) -> None:
        self._settings = settings
        self._at_level = at_level
        self._machine: Machine | None = None
        self._runs: dict[tuple[str, int], Run] = {}
        self._removing: set[str] = set()
        self._listeners: set[Listener] = set()
        self._sizes: dict[str, tuple[float, int]] = {}

    async def open(self) -> None:
        """Probe the machine and adopt what runs. Raises StartRefused when the machine cannot."""
        self._machine = await open_machine(self._settings, self._at_level)
        for folder in await asyncio.to_thread(lambda: list(environment_folders(self._opened.environments))):
            await asyncio.to_thread(self._find, folder)
        alive = {group for run in self._runs.values() if not run.is_over for group in run.record.cgroups}
        await asyncio.to_thread(self._opened.limiter.sweep, alive)
        for run in self._runs.values():
            if not run.is_over:
                run.adopt()

    async def close(self) -> None:
        """Stop following; environments go on and the next ``open`` finds them."""
        runs, self._runs = self._runs, {}
        await asyncio.gather(*(run.detach() for run in runs.values()))
        if self._machine is not None:
            await self._machine.builds.end_compiling()
            await asyncio.to_thread(self._machine.nursery.close)
        self._machine = None

    def heard_running(self, _ref: Ref) -> datetime | None:
        """Never known without asking, which costs nothing on one machine."""
        return None

    @property
    def runs_images(self) -> bool:
        """Never: environments here are processes of this machine."""
        return False

    @property
    def isolation(self) -> Isolation:
        """How environments are separated here, and what would mend it."""
        return self._opened.isolation

    @property
    def limits_by(self) -> str:
        """What holds limits here: ``systemd``, ``cgroup`` or ``measured``."""
        return self._opened.limiter.by

    async def start(self, spec: Spec) -> None:
        """Ask for a run and return at once."""
        machine, ref = self._opened, spec.ref
        key = (ref.slug, ref.generation)
        if key in self._runs:
            return
        folder = EnvironmentFolder(machine.environments, ref.slug)
        earlier = folder.run(ref.generation).record()
        if earlier is not None and (earlier.ending is not None or earlier.spawned_at is not None):
            return
        if ref.slug in self._removing:
            raise Conflict("This environment is being deleted.", "Choose another name.")
        for (slug, _), other in self._runs.items():
            if slug == ref.slug and not other.is_over:
                raise Conflict("An earlier run of this environment has not ended.", "Stop it first.")
        if any(generation > ref.generation for generation in folder.generations()):
            raise Conflict("A newer run of this environment exists.", "Look again.")
        for old in [key for key in self._runs if key[0] == ref.slug]:
            del self._runs[old]
        run = Run(machine, record_for(spec, datetime.now(UTC)), self._changed)
        self._runs[key] = run
        run.begin(spec)
        self._changed(run)

    async def stop(self, ref: Ref) -> None:
        """Ask for the end of a run and return at once."""
        self._check()
        run = self._runs.get((ref.slug, ref.generation))
        if run is not None:
            run.ask_to_stop()

    async def remove(self, ref: Ref, *, workspace: bool) -> None:
        """Delete everything of an environment; its workspace only when told so."""
        folder = EnvironmentFolder(self._opened.environments, ref.slug)
        mine = [run for (slug, _), run in self._runs.items() if slug == ref.slug]
        if any(not run.is_over for run in mine):
            raise Conflict("This environment still runs.", "Stop it first.")
        self._removing.add(ref.slug)
        try:
            for run in mine:
                await run.finish()
                self._runs.pop((ref.slug, run.record.generation), None)
            await asyncio.to_thread(_delete, folder, workspace=workspace)
        finally:
            self._removing.discard(ref.slug)
        self._sizes.pop(ref.slug, None)
        for run in mine:
            self._tell(_absent(run.record.ref))

    async def look(self, ref: Ref) -> Observation:
        """What is there now, asked live."""
        machine = self._opened
        run = self._runs.get((ref.slug, ref.generation))
        if run is None:
            record = EnvironmentFolder(machine.environments, ref.slug).run(ref.generation).record()
            if record is None:
                return _absent(ref)
            run = Run(machine, record, self._changed)
        return run.observation()

    async def observe(self) -> AsyncIterator[Observation]:
        """All runs that exist, then every change for ever."""
        self._check()
        listener = Listener()
        self._listeners.add(listener)
        try:
            for run in list(self._runs.values()):
                listener.tell(run.observation())
            while True:
                yield await listener.next()
        finally:
            self._listeners.discard(listener)

    async def logs(self, ref: Ref, *, offset: int, follow: bool) -> AsyncIterator[LogLine]:
        """Output from byte ``offset`` of what is kept."""
        folder = EnvironmentFolder(self._opened.environments, ref.slug).run(ref.generation)

        def has_ended() -> bool:
            run = self._runs.get((ref.slug, ref.generation))
            return run is None or run.is_over

        async for line in read_log(folder, offset, follow=follow, has_ended=has_ended):
            yield line

    async def usage(self, ref: Ref) -> UsageView | None:
        """What the run uses now, or None when it does not run."""
        self._check()
        run = self._runs.get((ref.slug, ref.generation))
        status = run.files.status() if run is not None and run.record.spawned_at is not None else None
        if run is None or status is None or not status.alive:
            return None
        return await asyncio.to_thread(run.meter.measure, run.record, status)

    async def workspace_bytes(self, ref: Ref) -> int | None:
        """Size of the workspace, or None; measured again after some seconds at the earliest."""
        folder = EnvironmentFolder(self._opened.environments, ref.slug)
        at, size_bytes = self._sizes.get(ref.slug, (0.0, 0))
        if at and time.monotonic() - at < MEASURED_AGAIN_SECONDS and folder.workspace.is_dir():
            return size_bytes
        if not folder.workspace.is_dir():
            return None
        try:
            size_bytes = await asyncio.to_thread(size_of, folder.workspace)
        except OSError as wrong:
            _log.info("workspace was not measured", extra={"environment": ref.slug, "error": str(wrong)})
            return None
        self._sizes[ref.slug] = (time.monotonic(), size_bytes)
        return size_bytes

    @property
    def _opened(self) -> Machine:
        if self._machine is None:
            raise RuntimeUnavailable("The local runtime is not open.")
        return self._machine

    def _check(self) -> None:
        if self._machine is None:
            raise RuntimeUnavailable("The local runtime is not open.")

    def _find(self, folder: EnvironmentFolder) -> None:
        """Take note of an environment's last run; sweep attempts that never got a process. Blocking."""
        for generation in reversed(folder.generations()):
            files = folder.run(generation)
            record = files.record()
            if record is None or (record.ending is None and not (files.status() or files.is_held())):
                files.delete()
                continue
            self._runs[folder.slug, generation] = Run(self._opened, record, self._changed)
            return

    def _changed(self, run: Run) -> None:
        if self._listeners:
            self._tell(run.observation())

    def _tell(self, seen: Observation) -> None:
        for listener in self._listeners:
            listener.tell(seen)


def _absent(ref: Ref) -> Observation:
    return Observation(ref=ref, sight=Sight.ABSENT, seen_at=datetime.now(UTC))


def _delete(folder: EnvironmentFolder, *, workspace: bool) -> None:
    """Remove an environment's folders."""
    for path in (folder.path / "runs", folder.files, *([folder.workspace] if workspace else [])):
        remove_tree(path)
    with contextlib.suppress(OSError):
        # Refused by the kernel while the workspace is there, which is what is wanted.
        folder.path.rmdir()
