"""The package index for pods that reach nothing outside: a caching mirror on the one address of ours they reach."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.cluster import wanted

START_SECONDS = 30
# Later it would send the pod to the index itself, which a pod does not reach.
DOWNLOAD_SECONDS = 300


@contextmanager
def mirrored(folder: Path) -> Iterator[str]:
    """The mirror's address as an index; what it fetched is kept below ``folder``."""
    address = wanted("CMB_TEST_NODE_ADDRESS")
    with socket.create_server((address, 0)) as found:
        port = found.getsockname()[1]
    log = folder / "log"
    variables = {
        **os.environ,
        "FLASK_APP": "proxpi.server",
        "PROXPI_CACHE_DIR": str(folder / "files"),
        "PROXPI_DOWNLOAD_TIMEOUT": str(DOWNLOAD_SECONDS),
    }
    if certificates := os.environ.get("PIP_CERT"):
        variables["REQUESTS_CA_BUNDLE"] = certificates
    with open(log, "wb") as said:
        mirror = subprocess.Popen(
            [sys.executable, "-m", "flask", "run", "--host", address, "--port", str(port)],
            env=variables, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        _wait(address, port, mirror, log)
        yield f"http://{address}:{port}/index/"
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
