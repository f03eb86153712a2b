"""One namespace for the whole session, with packages installed in it once; it is removed at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Admin, admin_of, make_namespace, remove_namespace, wanted


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """A namespace that Pod Security restricts."""
    name = asyncio.run(make_namespace())
    yield name
    asyncio.run(remove_namespace(name))


@pytest.fixture
async def admin(namespace: str) -> AsyncIterator[Admin]:
    """An administrator of that namespace."""
    async with admin_of(namespace) as opened:
        yield opened


@pytest.fixture(scope="session")
def index_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The package index, by a caching mirror on the one address of ours that pods reach."""
    address = wanted("CMB_TEST_NODE_ADDRESS")
    with socket.create_server((address, 0)) as found:
        port = found.getsockname()[1]
    log = tmp_path_factory.mktemp("mirror") / "log"
    variables = {**os.environ, "FLASK_APP": "proxpi.server", "PROXPI_CACHE_DIR": str(log.parent / "files")}
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
    give_up_at = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            assert mirror.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.1)
