"""Compiling the modules of a build once, for all later starts.

Environments cannot write into a build, so each start would compile them anew. It happens in
a room that can only read the build, and never with the build's own start-up files: no line
of a package may be run by it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

from cmbcluster.packages.account import give
from cmbcluster.packages.room import Openings
from cmbcluster.packages.tool import UvTool
from cmbcluster.packages.trees import take_over
from cmbcluster.runtime.local.finishing import COMPILED, Build, clear_away

_log = logging.getLogger(__name__)


class Compiling:
    """Compiles builds in the background, each once, with the lowest priority."""

    def __init__(self, tool: UvTool) -> None:
        self._tool = tool
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, build: Build) -> None:
        """Compile a build while its first start goes on: it takes longer than installing."""
        if build.name in self._tasks or (build.folder / COMPILED).exists():
            return
        task = asyncio.create_task(self._compile(build))
        self._tasks[build.name] = task
        task.add_done_callback(lambda _: self._tasks.pop(build.name, None))

    async def end(self) -> None:
        """End what goes on; the next start takes it up again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _compile(self, build: Build) -> None:
        try:
            scratch = await asyncio.to_thread(self._tool.scratch)
        except OSError as wrong:
            _log.info("build was not compiled", extra={"build": build.name, "error": str(wrong)})
            return
        try:
            made = scratch / "compiled"
            await asyncio.to_thread(self._give_folder, made)
            openings = Openings(readable=(build.interpreter, build.folder), writable=(made,), network=False)
            program, *words = await asyncio.to_thread(_words, build, made)
            await self._tool.run(words, folder=made, openings=openings, program=program)
            await asyncio.to_thread(place_compiled, made, build.folder, owned=self._tool.account.changes)
            (build.folder / COMPILED).touch()
        except OSError as wrong:
            # Environments work without; the next start tries again.
            _log.info("build was not compiled", extra={"build": build.name, "error": str(wrong)})
        finally:
            await asyncio.shield(asyncio.to_thread(clear_away, scratch))

    def _give_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o755)
        give(self._tool.account, folder)


def _words(build: Build, made: Path) -> list[str]:
    """The command: the Python below the build, without the site module, which would run files of packages."""
    nice = shutil.which("nice")
    python = os.path.realpath(build.folder / "bin" / "python")
    modules = str(build.folder / "lib")
    return [
        *([nice, "-n", "19"] if nice else []),
        *(python, "-I", "-S", "-X", f"pycache_prefix={made}", "-m", "compileall", "-q", "-j", "1", modules),
    ]


def place_compiled(made: Path, build: Path, *, owned: bool) -> None:
    """Move compiled modules from the tree they were made in to where Python looks for them. Blocking."""
    take_over(made, owned=owned)
    root = made.joinpath(*build.parts[1:])
    for place, _, names in os.walk(root):
        home = build / Path(place).relative_to(root)
        if os.path.realpath(home) != str(home):
            continue
        folder = home / "__pycache__"
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            continue
        folder.mkdir(mode=0o755, exist_ok=True)
        for name in names:
            if name.endswith(".pyc"):
                os.replace(Path(place) / name, folder / name)
