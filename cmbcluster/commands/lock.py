"""One platform per data folder: a lock that the kernel gives back however its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from cmbcluster.errors import StartRefused

LOCK_NAME = "up.lock"


@contextlib.contextmanager
def data_folder(data_dir: Path, address: str) -> Iterator[None]:
    """Hold the folder; raises StartRefused naming the process that holds it already."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as refused:
        raise StartRefused(
            f"The data folder {data_dir} cannot be written ({refused.strerror}). Choose another one with CMB_DATA_DIR."
        ) from refused
    with file:
        _take(file, data_dir)
        file.seek(0)
        file.truncate()
        record = {"pid": os.getpid(), "address": address, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        json.dump(record, file)
        file.flush()
        try:
            yield
        finally:
            # Emptied and not removed: somebody may be waiting at this very file.
            file.truncate(0)


def _take(file: TextIO, data_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        file.seek(0)
        try:
            holder = json.load(file)
            who = f"process {holder['pid']}, at {holder['address']}"
            stop = f"kill {holder['pid']}"
        except (ValueError, KeyError, TypeError):
            who, stop = "another process", "Ctrl-C in its terminal"
        raise StartRefused(
            f"CMBCluster already runs on the data in {data_dir} ({who}). "
            f"Open that address, stop it with {stop}, or choose another folder with CMB_DATA_DIR."
        ) from held
