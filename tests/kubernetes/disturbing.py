"""Disturbing the one cluster that all tests share: alone, and whole again afterwards.

The other half of the suite has tests of the cluster as well, in a process of its own. Those that are disturbed by
nothing share a lock, and whoever disturbs has it alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.kubernetes.cluster import Admin, until_true, wanted

LOCK = Path(tempfile.gettempdir()) / "cmb-test-cluster-quiet.lock"
UP_SECONDS = 120.0
PATIENCE_SECONDS = 3.0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within, nobody else disturbs the cluster."""
    with LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@asynccontextmanager
async def disturbing() -> AsyncIterator[None]:
    """Within, nobody else relies on the cluster."""
    with LOCK.open("a") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield


async def kube(*words: str) -> None:
    """The program that the cluster is started with."""
    program = str(Path(wanted("CMB_TEST_KUBE")).resolve())
    process = await asyncio.create_subprocess_exec(
        program, *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(UP_SECONDS):
        assert await process.wait() == 0, f"{program} {' '.join(words)} failed"


@asynccontextmanager
async def without(*components: str) -> AsyncIterator[None]:
    """Within, these parts of the control plane do not run; afterwards everything does that is missing."""
    try:
        for name in components:
            await _end(pid_file(name))
        yield
    finally:
        await kube("up")


def pid_file(component: str) -> Path:
    """Where the process id of one part of the cluster is."""
    return Path(wanted("CMB_TEST_KUBELET_PID")).with_name(f"{component}.pid")


async def _end(file: Path) -> None:
    pid = int(file.read_text())
    os.kill(pid, signal.SIGTERM)
    try:
        await until_true(lambda: not _runs(pid), PATIENCE_SECONDS)
    except AssertionError:
        # An API server waits a minute for its watches to go.
        os.kill(pid, signal.SIGKILL)
        await until_true(lambda: not _runs(pid))
    file.unlink()


def _runs(pid: int) -> bool:
    """Whether a process does anything still; one that nobody waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
    except FileNotFoundError:
        return False
    return not state.startswith("Z")


@asynccontextmanager
async def pretending(admin: Admin) -> AsyncIterator[None]:
    """Within, kwok runs what is on nodes that are annotated for it."""
    file = pid_file("kwok")
    if file.exists() and _runs(int(file.read_text())):
        yield
        return
    # The program starts it together with a node, which nobody needs here.
    await kube("simulate", "1")
    try:
        await admin.cluster.delete("/api/v1/nodes/simulated-1")
        yield
    finally:
        await _end(file)
