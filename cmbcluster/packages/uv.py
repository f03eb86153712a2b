"""The resolver made of uv: a source in, a lock with hashes out.

The index, mirrors, proxies and certificates are those of the user's own configuration of
pip and uv. It must never install anything into an environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cmbcluster.domain.interpreters import choose_python
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.errors import BuildFailed
from cmbcluster.packages import sentences
from cmbcluster.packages.interpreters import Interpreters
from cmbcluster.packages.port import Interpreter, PackagesFailed
from cmbcluster.packages.room import Openings
from cmbcluster.packages.tool import UvTool
from cmbcluster.packages.trees import remove_tree
from cmbcluster.settings import Settings

_PINNED = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)


class UvResolver:
    """Resolves with ``uv pip compile``. Equal sources asked for at once resolve once.

    Cancelling a caller ends uv when nobody else waits for the same source.
    """

    def __init__(self, settings: Settings) -> None:
        self._tool = UvTool(settings)
        self._interpreters = Interpreters(self._tool)
        # In a cluster one image runs every lock, so there is one Python to choose.
        self._only_python = settings.workspace_python if settings.runtime == "kubernetes" else ""
        self._seconds = settings.build_seconds
        self._under_way: dict[str, asyncio.Task[Lock]] = {}
        self._waiting: dict[str, int] = {}

    async def resolve(self, source: PythonSource) -> Lock:
        """The newest lock of the source (as of its date)."""
        key = source.digest()
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._resolve(source))
            task.add_done_callback(self._forget(key))
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                task.cancel()

    async def interpreters(self) -> tuple[Interpreter, ...]:
        """The Python versions environments can be built with here, newest first."""
        await asyncio.to_thread(self._tool.prepare)
        return await self._interpreters.found()

    def _forget(self, key: str) -> Callable[[asyncio.Task[Lock]], None]:
        def forget(done: asyncio.Task[Lock]) -> None:
            if self._under_way.get(key) is done:
                del self._under_way[key]
            if not done.cancelled():
                done.exception()

        return forget

    async def _resolve(self, source: PythonSource) -> Lock:
        try:
            await asyncio.to_thread(self._tool.prepare)
            source = replace(source, python=await self._choose(source.python))
            interpreter = await self._interpreters.usable(source.python)
            if not source.requirements:
                return Lock(text="", python=source.python, packages=0)
            folder = await asyncio.to_thread(self._make_folder, source)
        except OSError as wrong:
            if wrong.errno == errno.ENOSPC:
                raise sentences.disk_full() from wrong
            raise
        try:
            return await self._compile(source, interpreter, folder)
        finally:
            with contextlib.suppress(OSError):
                remove_tree(folder)

    async def _choose(self, wanted: str) -> str:
        """The one version of this machine that is built for, of those the source allows."""
        found = await self._interpreters.found()
        versions = tuple(each.version for each in found)
        if self._only_python:
            versions = tuple(each for each in versions if each.startswith(f"{self._only_python}."))
        try:
            return choose_python(wanted, versions, in_image=bool(self._only_python))
        except BuildFailed as missing:
            raise PackagesFailed(StopReason.PYTHON_MISSING, missing.what, missing.then) from missing

    async def _compile(self, source: PythonSource, interpreter: Interpreter, folder: Path) -> Lock:
        arguments = [
            "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-progress",
            "--python", interpreter.path, "--python-version", source.python,
        ]  # fmt: skip
        if not source.from_source:
            arguments += ["--only-binary", ":all:"]
        openings = Openings(
            readable=(folder, Path(interpreter.path).parent.parent),
            cache=self._tool.cache_for(from_source=source.from_source),
        )
        if source.as_of:
            arguments += ["--exclude-newer", source.as_of]
        try:
            async with asyncio.timeout(self._seconds):
                finished = await self._tool.run([*arguments, "requirements.in"], folder=folder, openings=openings)
        except TimeoutError as late:
            raise PackagesFailed(
                StopReason.RESOLVE_FAILED,
                f"Finding versions that go together took longer than {self._seconds} s and was given up.",
                "Name versions for some of the packages, then try again.",
            ) from late
        if finished.code != 0:
            raise sentences.resolving(finished.said, source)
        text = finished.output.strip() + "\n"
        return Lock(text=text, python=source.python, packages=len(_PINNED.findall(text)))

    def _make_folder(self, source: PythonSource) -> Path:
        """A folder of its own for one resolution; whom uv runs as can only read it."""
        folder = self._tool.scratch()
        requirements = folder / "requirements.in"
        requirements.write_text("\n".join(source.requirements) + "\n", encoding="utf-8")
        requirements.chmod(0o644)
        return folder
