"""The files of one run, which are the truth about it together with its live processes.

``record.json`` is the runtime's, ``status.json`` the supervisor's, ``output.*`` the log.
Whoever reads them after a restart of the platform sees what was known before. Nothing in
``record.json`` is secret; what is (the variables) is in ``launch.json`` until it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from cmbcluster.domain.views import ProtectionView
from cmbcluster.packages.trees import remove_tree
from cmbcluster.runtime.local.output_log import OUTPUT, now_text
from cmbcluster.runtime.local.process_tree import boot_id, is_alive
from cmbcluster.runtime.local.supervision import COMPLAINT, LAUNCH, LOCK, STATUS, write_atomically
from cmbcluster.runtime.port import Ending, Ref, Spec, StageMark
from cmbcluster.runtime.wording import showable

RECORD = "record.json"
KEPT_RUNS = 3
TAIL_LINES = 20
TAIL_BYTES = 16384
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+\+00:00) ?(.*)$", re.DOTALL)


@dataclass
class Record:
    """What the runtime knows of a run and must still know after a restart."""

    environment_id: UUID
    slug: str
    generation: int
    operation_id: str
    port: int  # the program's own
    health_path: str
    ready_within_seconds: int
    memory_bytes: int
    processes: int
    asked_at: datetime
    outer_host: str = "127.0.0.1"
    outer_port: int = 0
    build: str = ""
    cgroups: tuple[str, ...] = ()
    protection: ProtectionView | None = None
    stages: tuple[StageMark, ...] = ()
    spawned_at: datetime | None = None
    supervisor: int = 0
    ready_at: datetime | None = None
    stop_asked_at: datetime | None = None
    never_ready: bool = False
    ending: Ending | None = None

    @property
    def ref(self) -> Ref:
        """Which run this is."""
        return Ref(self.environment_id, self.slug, self.generation)


_RECORDS: TypeAdapter[Record] = TypeAdapter(Record)


@dataclass(frozen=True)
class Status:
    """What the supervisor wrote."""

    supervisor: int
    supervisor_ticks: int | None
    child: int
    boot: str
    started_at: datetime
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""

    @property
    def alive(self) -> bool:
        """Whether this very supervisor lives: the same pid, start and start of the machine."""
        if self.ended_at is not None or self.boot != boot_id():
            return False
        return is_alive(self.supervisor, self.supervisor_ticks)

    @property
    def same_boot(self) -> bool:
        """Whether the machine has been running since."""
        return self.boot == boot_id()


_STATUSES: TypeAdapter[Status] = TypeAdapter(Status)


@dataclass(frozen=True)
class EnvironmentFolder:
    """All folders of one environment: its workspace and its runs."""

    root: Path
    slug: str
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        if not _SLUG.fullmatch(self.slug):
            raise ValueError(f"not a slug: {self.slug!r}")
        object.__setattr__(self, "path", self.root / self.slug)

    @property
    def workspace(self) -> Path:
        """The environment's own files."""
        return self.path / "workspace"

    @property
    def files(self) -> Path:
        """The files made for the environment's ``/etc``."""
        return self.path / "etc"

    def run(self, generation: int) -> RunFolder:
        """The folder of one run; it need not exist."""
        return RunFolder(self.path / "runs" / str(generation))

    def generations(self) -> list[int]:
        """The runs there are, oldest first."""
        try:
            names = os.listdir(self.path / "runs")
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdigit())

    def prune(self) -> None:
        """Forget all but the last few runs."""
        for generation in self.generations()[:-KEPT_RUNS]:
            self.run(generation).delete()


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, closed to everybody but us."""

    path: Path

    def make(self) -> None:
        """Create the folder, closed to others."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)

    def delete(self) -> None:
        """Remove the folder and all in it."""
        with contextlib.suppress(OSError):
            remove_tree(self.path)

    def write(self, record: Record) -> None:
        """Replace the record in one step."""
        write_atomically(str(self.path / RECORD), _RECORDS.dump_python(record, mode="json"))

    def record(self) -> Record | None:
        """The record, or None when there is none that can be read."""
        try:
            return _RECORDS.validate_json((self.path / RECORD).read_bytes())
        except (OSError, ValidationError):
            return None

    def status(self) -> Status | None:
        """What the supervisor wrote last, or None."""
        try:
            return _STATUSES.validate_json((self.path / STATUS).read_bytes())
        except (OSError, ValidationError):
            return None

    def clear(self) -> None:
        """Forget an earlier attempt of the same run."""
        for name in (STATUS, LAUNCH):
            (self.path / name).unlink(missing_ok=True)
        for _, file in self.outputs():
            file.unlink(missing_ok=True)

    def write_launch(self, launch: dict[str, Any]) -> None:
        """Hand the supervisor what it needs; it deletes the file."""
        write_atomically(str(self.path / LAUNCH), launch)

    def is_held(self) -> bool:
        """Whether a supervisor holds the folder (for one that has not written its status yet)."""
        try:
            with open(self.path / LOCK, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def outputs(self) -> list[tuple[int, Path]]:
        """(offset of the first byte, file) of what is kept of the log, oldest first."""
        try:
            names = os.listdir(self.path)
        except OSError:
            return []
        return sorted((int(name[len(OUTPUT) :]), self.path / name) for name in names if name.startswith(OUTPUT))

    def write_output(self, text: str) -> None:
        """Put lines of another tool into a log that has none of its own yet."""
        stamp = now_text()
        lines = "".join(f"{stamp} {line}\n" for line in text.splitlines())
        (self.path / f"{OUTPUT}{0:015d}").write_text(lines, encoding="utf-8")

    def complaint(self) -> str:
        """What a supervisor said that could not do its work."""
        try:
            return (self.path / COMPLAINT).read_text(encoding="utf-8", errors="replace")[-TAIL_BYTES:]
        except OSError:
            return ""

    def tail(self) -> str:
        """The last lines of the log, without their times."""
        data = b""
        for _, file in self.outputs():
            try:
                with open(file, "rb") as opened:
                    opened.seek(max(0, os.fstat(opened.fileno()).st_size - TAIL_BYTES))
                    data = (data + opened.read())[-TAIL_BYTES:]
            except OSError:
                continue
        lines = data.decode(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(split_stamp(line)[1] for line in lines)


def split_stamp(line: str) -> tuple[datetime | None, str]:
    """(time, text) of a line of the log; the text is fit for showing."""
    match = _STAMP.match(line)
    if match is None:
        return None, showable(line)
    return datetime.fromisoformat(match.group(1)).astimezone(UTC), showable(match.group(2))


def record_for(spec: Spec, now: datetime) -> Record:
    """The record of a run that was asked for just now."""
    return Record(
        environment_id=spec.ref.environment_id,
        slug=spec.ref.slug,
        generation=spec.ref.generation,
        operation_id=spec.operation_id,
        port=spec.program.port,
        health_path=spec.program.health_path,
        ready_within_seconds=spec.program.ready_within_seconds,
        memory_bytes=spec.memory_bytes,
        processes=spec.processes,
        asked_at=now,
    )


def environment_folders(root: Path) -> Iterator[EnvironmentFolder]:
    """Every environment there is."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return
    for name in names:
        if _SLUG.fullmatch(name):
            yield EnvironmentFolder(root, name)
