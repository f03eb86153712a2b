"""What a build is called, and how installed packages become a build of ours.

The folder the packages were installed into was written by other people's code. Here it is
taken out of that code's reach before anything is written into it; nothing it holds may
decide where we write or what environments are shown.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Lock
from cmbcluster.packages.port import Interpreter, PackagesFailed
from cmbcluster.packages.trees import remove_tree, take_over

RECORD = "build.json"
USED = "last-used"
COMPILED = "compiled"
NAME_LENGTH = 32
LAYOUT = "2"  # of finished builds; a younger one never takes an older one for its own


@dataclass(frozen=True)
class Build:
    """A finished build. ``interpreter`` is the folder of the Python it rests on."""

    name: str
    folder: Path
    interpreter: Path


@dataclass(frozen=True)
class Plan:
    """All a build is made of."""

    name: str
    interpreter: Interpreter
    lock: Lock
    bundled: Path | None
    from_source: bool

    @property
    def interpreter_folder(self) -> Path:
        """The folder of the Python it rests on."""
        return Path(self.interpreter.path).parent.parent


def bundled_folder(name: str) -> Path | None:
    """The files of an application shipped in this package; None when the source names none."""
    if not name:
        return None
    folder = Path(str(files("cmbcluster"))) / "catalogue" / "bundled" / name
    if not name.replace("-", "").replace("_", "").isalnum() or not folder.is_dir():
        raise PackagesFailed(
            StopReason.BUILD_FAILED,
            f"The application “{name}” is not part of this installation.",
            "Choose another application.",
        )
    return folder


def build_name(lock: Lock, interpreter: Interpreter, bundled: Path | None, from_source: bool = False) -> str:
    """What a build is called: a digest of all it is made of."""
    digest = hashlib.sha256()
    parts = [lock.digest, interpreter.version, interpreter.path, platform.system(), platform.machine(), LAYOUT]
    if from_source:
        parts.append("from source")
    digest.update("\n".join(parts).encode())
    for file in _files_of(bundled):
        digest.update(f"\n{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:NAME_LENGTH]


def take(made: Path, whole: Path, plan: Plan, *, owned: bool) -> None:
    """Bring what was installed out of the account's reach. Its room is dead; nothing runs in it any more."""
    made.rename(whole)
    if whole.is_symlink() or not whole.is_dir():
        raise _not_whole()
    take_over(whole, owned=owned)
    # The folder of this Python is shown to environments, so no package may choose another one.
    if os.path.realpath(whole / "bin" / "python") != os.path.realpath(plan.interpreter.path):
        raise _not_whole()


def _not_whole() -> PackagesFailed:
    return PackagesFailed(
        StopReason.BUILD_FAILED,
        "A package changed the environment it was installed into, so it was not kept.",
        "Leave out the package that does not only install files.",
    )


def clear_away(folder: Path) -> None:
    """Remove what a builder left, as far as it can be."""
    with contextlib.suppress(OSError):
        remove_tree(folder)


def finish(made: Path, interpreter: Interpreter, lock: Lock, bundled: Path | None) -> None:
    """What turns an installed folder into a build: bundled files, a record, the first stamp."""
    for name in ("bundled", USED, RECORD, COMPILED):
        # A package may have left something of this name, a link for example, that we would write through.
        remove_tree(made / name)
    for file in _files_of(bundled):
        target = made / "bundled" / file.relative_to(bundled or file)
        target.parent.mkdir(parents=True, mode=0o755, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o644)
    record = {
        "python": interpreter.version,
        "lock": lock.digest,
        "packages": lock.packages,
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (made / USED).touch()
    (made / RECORD).write_text(json.dumps(record), encoding="utf-8")


def _files_of(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    return sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
