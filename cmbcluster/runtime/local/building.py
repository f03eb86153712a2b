"""The progress of one build, as far as it can be measured.

Bytes are what uv really wrote, packages what lies installed in the folder. Nothing here is
extrapolated: a total that is not known is None, and silence is shown as the seconds since
the last sign of life.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cmbcluster.domain.lifecycle import Stage
from cmbcluster.runtime.local.process_tree import program_of
from cmbcluster.runtime.port import StageMark

LOOK_SECONDS = 0.5
SILENT_SECONDS = 5.0
_BEGINS = re.compile(r"^\s*(?:Downloading|Building)\s+(\S+?)(?:\s+\(([\d.]+)([KMG]?i?B)\))?$")
_ENDS = re.compile(r"^\s*(?:Downloaded|Built)\s+(\S+)")
_PREPARED = re.compile(r"^Prepared \d+ packages?")
_INSTALLED = re.compile(r"^Installed (\d+) packages?")
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class Progress:
    """Two stages, downloading and installing, from uv's lines, its writes and the folder."""

    def __init__(self, packages: int, on_change: Callable[[], None]) -> None:
        self._packages = packages
        self._on_change = on_change
        self._marks: list[StageMark] = []
        self._fetching: list[str] = []
        self._pid = 0
        self._sign_of_life = time.monotonic()

    def marks(self) -> tuple[StageMark, ...]:
        """The stages so far, in order."""
        return tuple(self._marks)

    def started(self, pid: int) -> None:
        """uv runs now, as this process."""
        self._pid = pid
        self._alive()
        self._begin(StageMark(Stage.DOWNLOADING, _now(), unit="bytes"))

    def line(self, text: str) -> None:
        """A line uv said."""
        self._alive()
        if match := _BEGINS.match(text):
            self._fetching.append(match.group(1))
        elif match := _ENDS.match(text):
            with contextlib.suppress(ValueError):
                self._fetching.remove(match.group(1))
        elif _PREPARED.match(text):
            self._installing()
        elif match := _INSTALLED.match(text):
            self._installing()
            self._change(done=int(match.group(1)), detail="")
            return
        else:
            return
        self._change(detail=self._detail())

    @contextlib.asynccontextmanager
    async def watching(self, folder: Path) -> AsyncIterator[None]:
        """Looks at bytes and packages for as long as the block lasts."""
        task = asyncio.create_task(self._watch(folder))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def finish(self) -> None:
        """Everything is installed."""
        if self._marks:
            self._installing()
            self._change(done=self._packages, detail="", ended_at=_now())

    def fail(self) -> None:
        """The stage under way failed; before the first one it is installing that did not begin."""
        if not self._marks:
            self._begin(StageMark(Stage.INSTALLING, _now(), unit="packages", total=self._packages or None))
        self._change(failed=True, ended_at=_now())

    async def _watch(self, folder: Path) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            mark = self._marks[-1] if self._marks else None
            if mark is None or mark.ended_at is not None:
                continue
            if mark.stage is Stage.DOWNLOADING:
                done = max(mark.done, written_bytes(self._pid))
                installed = await asyncio.to_thread(_installed_in, folder)
                if installed:
                    # Nothing had to be fetched, or uv went on without saying so.
                    self._installing()
                    mark, done = self._marks[-1], installed
            else:
                done = max(mark.done, await asyncio.to_thread(_installed_in, folder))
            if done > mark.done:
                self._alive()
            detail = self._detail()
            if done != mark.done or detail != mark.detail:
                self._change(done=done, detail=detail)

    def _installing(self) -> None:
        if self._marks[-1].stage is Stage.DOWNLOADING:
            self._marks[-1] = replace(self._marks[-1], ended_at=_now(), detail="")
            self._fetching.clear()
            self._begin(StageMark(Stage.INSTALLING, _now(), total=self._packages, unit="packages"))

    def _begin(self, mark: StageMark) -> None:
        self._marks.append(mark)
        self._on_change()

    def _change(self, **changes: object) -> None:
        if self._marks:
            self._marks[-1] = replace(self._marks[-1], **changes)  # type: ignore[arg-type]
            self._on_change()

    def _alive(self) -> None:
        self._sign_of_life = time.monotonic()

    def _detail(self) -> str:
        """What is fetched now, or for how long nothing came."""
        silent = time.monotonic() - self._sign_of_life
        if silent >= SILENT_SECONDS:
            return f"nothing new for {int(silent)} s"
        if not self._fetching:
            return ""
        more = len(self._fetching) - 2
        return ", ".join(self._fetching[:2]) + (f" and {more} more" if more > 0 else "")


def written_bytes(pid: int) -> int:
    """Bytes uv has written below this process, for what it fetched and unpacked. 0 where it cannot be known."""
    pid = program_of(pid) or pid
    try:
        rows = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith("wchar:")), 0)


def _installed_in(folder: Path) -> int:
    """How many packages lie in the environment."""
    installed = 0
    for place in folder.glob("lib/python3*/site-packages"):
        with contextlib.suppress(OSError):
            installed += sum(name.endswith(".dist-info") for name in os.listdir(place))
    return installed


def _now() -> datetime:
    return datetime.now(UTC)
