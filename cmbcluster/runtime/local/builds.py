"""Content-addressed builds: a lock, a Python and a platform make one folder, shared by all.

Made in a folder beside and renamed into place, so a killed build leaves nothing half-done.
Many launches of one lock build once, also across processes. Packages are installed into a
folder the environments' account can write; a build is ours, and no longer that account's,
before anything of it is used. A build that a running environment uses must never be removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.errors import CMBClusterError
from cmbcluster.packages import sentences
from cmbcluster.packages.account import give
from cmbcluster.packages.interpreters import Interpreters
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.packages.room import Openings
from cmbcluster.packages.tool import UvTool
from cmbcluster.packages.trees import size_of
from cmbcluster.runtime.local.building import Progress
from cmbcluster.runtime.local.compiling import Compiling
from cmbcluster.runtime.local.finishing import (
    NAME_LENGTH,
    RECORD,
    USED,
    Build,
    Plan,
    build_name,
    bundled_folder,
    clear_away,
    finish,
    take,
)
from cmbcluster.runtime.port import StageMark
from cmbcluster.settings import Settings

HALF = ".building-"
GOING = ".removing-"
WAIT_SECONDS = 0.1
_log = logging.getLogger(__name__)
OnMarks = Callable[[tuple[StageMark, ...]], None]


@dataclass(frozen=True)
class BuildView:
    """A finished build as an administrator sees it. ``in_use``: an environment runs from it."""

    name: str
    python: str
    packages: int
    size_bytes: int
    built_at: datetime
    used_at: datetime
    in_use: bool


@dataclass
class _UnderWay:
    task: asyncio.Task[Build]
    progress: Progress
    listeners: set[OnMarks] = field(default_factory=set)


class Builds:
    """Makes, finds, lists and prunes builds below one data folder."""

    def __init__(self, settings: Settings, tool: UvTool) -> None:
        self._tool = tool
        self._interpreters = Interpreters(tool)
        self._seconds = settings.build_seconds
        self._at_once = asyncio.Semaphore(settings.local_builds_at_once)
        self._under_way: dict[str, _UnderWay] = {}
        self._compiling = Compiling(tool)
        self.folder = tool.data_dir / "builds"

    def prepare(self) -> None:
        """Make the folder and sweep what builders left that died."""
        self.folder.mkdir(mode=0o755, exist_ok=True)
        for left in [*self.folder.glob(f"{HALF}*"), *self.folder.glob(f"{GOING}*")]:
            name = left.name.removeprefix(HALF).removeprefix(GOING)[:NAME_LENGTH]
            with self._try_hold(name) as held:
                if held:
                    clear_away(left)

    @contextlib.asynccontextmanager
    async def ready(self, source: PythonSource, lock: Lock, on_marks: OnMarks) -> AsyncIterator[Build]:
        """The build of a lock, made when it is not there; it is not pruned inside the block.

        Raises PackagesFailed. A cancelled caller ends the build when nobody else waits for it.
        """
        interpreter = await self._interpreters.usable(source.python)
        bundled = bundled_folder(source.bundled)
        name = await asyncio.to_thread(build_name, lock, interpreter, bundled, source.from_source)
        while True:
            with self._try_hold(name, shared=True) as held:
                found = self._finished(name) if held else None
                if found is not None:
                    with contextlib.suppress(OSError):
                        (found.folder / USED).touch()
                    yield found
                    self._compiling.begin(found)
                    return
            await self._made(Plan(name, interpreter, lock, bundled, source.from_source), on_marks)

    async def end_compiling(self) -> None:
        """End what goes on in the background; it is taken up again with the next start."""
        await self._compiling.end()

    async def _made(self, plan: Plan, on_marks: OnMarks) -> None:
        """Join the build of this name, or begin it."""
        name = plan.name
        work = self._under_way.get(name)
        if work is None:
            progress = Progress(plan.lock.packages, on_change=lambda: self._tell(name))
            task = asyncio.create_task(self._build(plan, progress))
            work = self._under_way[name] = _UnderWay(task, progress)
            task.add_done_callback(lambda done: self._forget(name, done))
        work.listeners.add(on_marks)
        on_marks(work.progress.marks())
        try:
            await asyncio.shield(work.task)
        finally:
            work.listeners.discard(on_marks)
            if not work.listeners and not work.task.done():
                work.task.cancel()
                # A newcomer begins anew instead of joining a build that is being given up.
                self._under_way.pop(name, None)
                await asyncio.wait([work.task])

    def _tell(self, name: str) -> None:
        work = self._under_way.get(name)
        if work is not None:
            for listener in tuple(work.listeners):
                listener(work.progress.marks())

    def _forget(self, name: str, done: asyncio.Task[Build]) -> None:
        work = self._under_way.get(name)
        if work is not None and work.task is done:
            del self._under_way[name]
        if not done.cancelled():
            done.exception()

    async def _build(self, plan: Plan, progress: Progress) -> Build:
        """Wait for a turn and for other processes, then build with a limit of time."""
        try:
            async with self._at_once, self._hold(plan.name):
                found = self._finished(plan.name)
                if found is not None:
                    return found
                async with asyncio.timeout(self._seconds):
                    return await self._build_beside(plan, progress)
        except TimeoutError as late:
            progress.fail()
            raise PackagesFailed(
                StopReason.BUILD_FAILED,
                f"Installing the packages took longer than {self._seconds} s and was given up.",
                "Start it again: what was downloaded is kept.",
            ) from late
        except OSError as wrong:
            progress.fail()
            if wrong.errno == errno.ENOSPC:
                raise sentences.disk_full() from wrong
            raise PackagesFailed(
                StopReason.BUILD_FAILED,
                f"The build could not be written: {wrong.strerror}.",
                "Ask whoever runs this machine to look at the data folder.",
            ) from wrong
        except CMBClusterError:
            progress.fail()
            raise

    async def _build_beside(self, plan: Plan, progress: Progress) -> Build:
        half = await asyncio.to_thread(self._make_half, plan.name)
        try:
            made = half / "work" / "environment"
            openings = Openings(
                readable=(plan.interpreter_folder,),
                writable=(half / "work",),
                cache=self._tool.cache_for(from_source=plan.from_source),
            )
            venv = ["venv", "--quiet", "--relocatable", "--python", plan.interpreter.path, str(made)]
            await self._uv(half / "work", venv, openings)
            if plan.lock.packages:
                await self._install(half, made, plan, openings, progress)
            whole = half / "whole"
            await asyncio.to_thread(take, made, whole, plan, owned=self._tool.account.changes)
            await asyncio.to_thread(finish, whole, plan.interpreter, plan.lock, plan.bundled)
            progress.finish()
            whole.rename(self.folder / plan.name)
        finally:
            await asyncio.shield(asyncio.to_thread(clear_away, half))
        found = self._finished(plan.name)
        if found is None:
            raise PackagesFailed(StopReason.BUILD_FAILED, "The build vanished while it was made.", "Start it again.")
        return found

    def _make_half(self, name: str) -> Path:
        """A folder of ours with one in it that the account can write."""
        half = Path(tempfile.mkdtemp(prefix=f"{HALF}{name}-", dir=self.folder))
        half.chmod(0o755)
        self._give_folder(half / "work")
        return half

    def _give_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o755)
        give(self._tool.account, folder)

    async def _install(self, half: Path, made: Path, plan: Plan, openings: Openings, progress: Progress) -> None:
        lock = half / "lock.txt"
        lock.write_text(plan.lock.text, encoding="utf-8")
        lock.chmod(0o644)
        arguments = [
            "pip", "install", "--python", str(made / "bin" / "python"), "--require-hashes", "--no-deps",
            *([] if plan.from_source else ["--only-binary", ":all:"]),
            "-r", str(lock),
        ]  # fmt: skip
        openings = replace(openings, readable=(*openings.readable, lock))
        async with progress.watching(made):
            await self._uv(half / "work", arguments, openings, progress)

    async def _uv(
        self, folder: Path, arguments: list[str], openings: Openings, progress: Progress | None = None
    ) -> None:
        finished = await self._tool.run(
            arguments,
            folder=folder,
            openings=openings,
            on_line=progress.line if progress else None,
            on_start=progress.started if progress else None,
        )
        if finished.code != 0:
            raise sentences.installing(finished.said)

    def _finished(self, name: str) -> Build | None:
        """The build of this name when it is whole; one whose Python went away is removed."""
        folder = self.folder / name
        if not (folder / RECORD).is_file():
            return None
        python = folder / "bin" / "python"
        if python.exists():
            return Build(name, folder, Path(os.path.realpath(python)).parent.parent)
        self._take_away(name)
        return None

    def views(self, in_use: set[str]) -> tuple[BuildView, ...]:
        """Every finished build, the latest used first. Blocking: it measures sizes."""
        found: list[BuildView] = []
        for record in self.folder.glob(f"[0-9a-f]*/{RECORD}"):
            folder = record.parent
            with contextlib.suppress(OSError, ValueError, KeyError):
                told = json.loads(record.read_text(encoding="utf-8"))
                used = (folder / USED).stat().st_mtime
                found.append(
                    BuildView(
                        name=folder.name,
                        python=told["python"],
                        packages=told["packages"],
                        size_bytes=size_of(folder),
                        built_at=datetime.fromisoformat(told["built_at"]),
                        used_at=datetime.fromtimestamp(used, UTC),
                        in_use=folder.name in in_use,
                    )
                )
        return tuple(sorted(found, key=lambda each: each.used_at, reverse=True))

    def prune(self, in_use: Callable[[], set[str]], unused_for_seconds: float = 0.0) -> tuple[BuildView, ...]:
        """Remove builds no environment runs from; returns what was removed. Blocking."""
        removed: list[BuildView] = []
        for build in self.views(in_use()):
            if time.time() - build.used_at.timestamp() < unused_for_seconds:
                continue
            with self._try_hold(build.name) as held:
                # Asked again under the lock: a start may have come first.
                if held and build.name not in in_use():
                    self._take_away(build.name)
                    removed.append(build)
        return tuple(removed)

    def _take_away(self, name: str) -> None:
        going = self.folder / f"{GOING}{name}-{os.getpid()}"
        with contextlib.suppress(OSError):
            (self.folder / name).rename(going)
        clear_away(going)

    @contextlib.contextmanager
    def _try_hold(self, name: str, *, shared: bool = False) -> Iterator[bool]:
        """The lock of a build's name, if nobody holds it against us."""
        with open(self.folder / f"{name}.lock", "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.asynccontextmanager
    async def _hold(self, name: str) -> AsyncIterator[None]:
        while True:
            with self._try_hold(name) as held:
                if held:
                    yield
                    return
            await asyncio.sleep(WAIT_SECONDS)
