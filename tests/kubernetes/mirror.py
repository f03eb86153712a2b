"""The package index for pods that reach nothing outside: a caching mirror on the one address of ours they reach."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.cluster import wanted

START_SECONDS = 30
ROOT = Path(__file__).parents[2]


@contextmanager
def mirrored(folder: Path) -> Iterator[str]:
    """The mirror's address as an index; what it fetched is kept below ``folder``."""
    address = wanted("CMB_TEST_NODE_ADDRESS")
    with socket.create_server((address, 0)) as found:
        port = found.getsockname()[1]
    log = folder / "log"
    files = folder / "files"
    files.mkdir(exist_ok=True)
    with open(log, "wb") as said:
        mirror = subprocess.Popen(
            [sys.executable, "-m", "tests.kubernetes.mirror_server", address, str(port), str(files)],
            cwd=ROOT,
            stdout=said,
            stderr=said,
        )
    try:
        _wait(address, port, mirror, log)
        yield f"http://{address}:{port}/simple/"
    finally:
        mirror.terminate()
        mirror.wait(10)


def _wait(address: str, port: int, mirror: subprocess.Popen[bytes], log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            assert mirror.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.1)
