"""The Python interpreters of this machine, and copies the environments' account can run.

An interpreter below a closed home (root's, say) cannot be reached by the account foreign
code runs as; it is linked or copied once into the data folder. This module must never
download an interpreter: which ones exist is the machine owner's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.packages.account import can_run
from cmbcluster.packages.port import Interpreter, PackagesFailed
from cmbcluster.packages.tool import UvTool
from cmbcluster.packages.trees import remove_tree

REUSED_SECONDS = 60.0
OLDEST = (3, 9)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
# Never needed by an environment: tests, static libraries, other people's packages.
_LEFT_OUT = frozenset({"test", "tests", "idlelib", "turtledemo", "site-packages", "share", "__phello__"})


class Interpreters:
    """Finds interpreters and makes them usable. One list is reused for a minute."""

    def __init__(self, tool: UvTool) -> None:
        self._tool = tool
        self._found: tuple[Interpreter, ...] = ()
        self._found_at = -REUSED_SECONDS
        self._lock = asyncio.Lock()

    async def found(self) -> tuple[Interpreter, ...]:
        """Every CPython of this machine since 3.9, newest first."""
        async with self._lock:
            if time.monotonic() - self._found_at >= REUSED_SECONDS:
                self._found = await self._find()
                self._found_at = time.monotonic()
            return self._found

    async def usable(self, version: str) -> Interpreter:
        """The newest interpreter of ``3.N`` at a path the account can run.

        Raises PackagesFailed with PYTHON_MISSING, naming the version and how to get it.
        """
        found = await self.found()
        for interpreter in found:
            if interpreter.version == version or interpreter.version.startswith(version + "."):
                if can_run(self._tool.account, Path(interpreter.path)) and self._stands_alone(interpreter):
                    return interpreter
                return await asyncio.to_thread(self._reachable, interpreter)
        here = sorted({".".join(each.version.split(".")[:2]) for each in found}, key=_ordered, reverse=True)
        raise PackagesFailed(
            StopReason.PYTHON_MISSING,
            f"Python {version} is not on this machine; it has {', '.join(here) or 'none'}.",
            f"Install it with `uv python install {version}`, then start it again.",
        )

    async def _find(self) -> tuple[Interpreter, ...]:
        asked = await self._tool.run(
            # Outside of any room, so nothing that build scripts could have changed may have a say.
            ["python", "list", "--only-installed", "--output-format", "json", "--no-cache"],
            folder=self._tool.tools_dir,
        )
        listed = await asyncio.to_thread(lambda: [*self._own(), *_of_pyenv(), *_of_uv(asked.output)])
        best: dict[str, Interpreter] = {}
        for interpreter in listed:
            if _ordered(interpreter.version) >= OLDEST:
                best.setdefault(interpreter.version, interpreter)
        return tuple(sorted(best.values(), key=lambda each: _ordered(each.version), reverse=True))

    @staticmethod
    def _own() -> Iterator[Interpreter]:
        base = getattr(sys, "_base_executable", sys.executable)
        if sys.implementation.name == "cpython" and base and Path(base).is_file():
            yield Interpreter(".".join(map(str, sys.version_info[:3])), str(Path(base).resolve()))

    def _stands_alone(self, interpreter: Interpreter) -> bool:
        """Whether the folder of the interpreter can be shown to environments: it holds no home or data."""
        prefix = Path(interpreter.path).parent.parent
        return not any(private.is_relative_to(prefix) for private in (Path.home(), self._tool.data_dir))

    def _reachable(self, interpreter: Interpreter) -> Interpreter:
        """A linked or copied interpreter below the data folder; made once, under a lock."""
        program = Path(interpreter.path).resolve()
        prefix = program.parent.parent
        mark = hashlib.sha256(f"{prefix} {program.stat().st_mtime_ns}".encode()).hexdigest()[:8]
        home = self._tool.data_dir / "interpreters"
        home.mkdir(mode=0o755, exist_ok=True)
        target = home / f"cpython-{interpreter.version}-{mark}"
        with open(home / f"{target.name}.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                half = home / f".making-{target.name}"
                remove_tree(half)
                _bring(prefix, half)
                _find_libraries_beside(half / "bin" / program.name, prefix)
                half.rename(target)
        return Interpreter(interpreter.version, str(target / "bin" / program.name))


def _of_pyenv() -> Iterator[Interpreter]:
    """pyenv's versions; uv sees only those that are active."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    with contextlib.suppress(OSError):
        for folder in sorted((root / "versions").iterdir()):
            program = folder / "bin" / "python3"
            if _VERSION.fullmatch(folder.name) and program.is_file() and not folder.is_symlink():
                yield Interpreter(folder.name, str(program.resolve()))


def _of_uv(output: str) -> Iterator[Interpreter]:
    """What uv lists, without pyenv's shims, which need pyenv to work."""
    try:
        rows = json.loads(output or "[]")
    except ValueError:
        return
    for row in rows:
        ordinary = row.get("implementation") == "cpython" and row.get("variant", "default") == "default"
        path = Path(row.get("path") or "")
        if ordinary and "shims" not in path.parts and path.is_file() and _VERSION.fullmatch(row.get("version", "")):
            yield Interpreter(row["version"], str(path.resolve()))


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _bring(prefix: Path, target: Path) -> None:
    """Link (or copy, on another file system) what an interpreter needs to run."""
    for folder in ("bin", "lib", "include"):
        for place, folders, files in os.walk(prefix / folder):
            folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")]
            here = target / Path(place).relative_to(prefix)
            here.mkdir(parents=True, mode=0o755, exist_ok=True)
            for name in files:
                if not name.endswith(".a"):
                    _bring_file(Path(place) / name, here / name, keep_apart=folder == "bin")
            for name in folders:
                if (Path(place) / name).is_symlink():
                    _bring_file(Path(place) / name, here / name, keep_apart=False)
            folders[:] = [name for name in folders if not (Path(place) / name).is_symlink()]
    version_folder = next((target / "lib").glob("python3*"), None)
    if version_folder is not None:
        (version_folder / "site-packages").mkdir(mode=0o755, exist_ok=True)


def _bring_file(source: Path, target: Path, *, keep_apart: bool) -> None:
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    if not keep_apart:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _find_libraries_beside(program: Path, prefix: Path) -> None:
    """Let a program linked against its own libpython find it beside itself.

    Such a program names the folder of its libraries absolutely. The loader's word for
    "beside me" is shorter than any such folder, so it fits in its place.
    """
    old = os.fsencode(prefix / "lib") + b"\0"
    new = b"$ORIGIN/../lib"
    content = program.read_bytes()
    if len(new) < len(old) and old in content:
        program.write_bytes(content.replace(old, new.ljust(len(old), b"\0")))
