"""A data folder the environments' account can reach, programs to run in it, and the leak check."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cmbcluster.domain.sources import Lock, Program, PythonSource
from cmbcluster.runtime.local.process_tree import start_ticks
from cmbcluster.runtime.port import Observation, Packages, Ref, Runtime, Sight, Spec
from cmbcluster.settings import Settings

MIB = 1024**2
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
EMPTY_LOCK = Lock(text="", python=PYTHON, packages=0)

SERVER = """
import http.server, json, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({"cwd": os.getcwd(), "home": os.environ["HOME"]}).encode())
    def log_message(self, *_): pass
print("serving on", sys.argv[1], flush=True)
print("to stderr", file=sys.stderr, flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """A command that runs ``code`` in the environment's own Python."""
    return ("python", "-c", code, *arguments)


def server() -> tuple[str, ...]:
    """A program that answers on its port with 200."""
    return python(SERVER, "{port}")


def make_spec(
    slug: str,
    command: tuple[str, ...] | None = None,
    *,
    generation: int = 1,
    environment_id: uuid.UUID | None = None,
    lock: Lock = EMPTY_LOCK,
    source: PythonSource | None = None,
    ready_within_seconds: int = 30,
    memory_bytes: int = 512 * MIB,
    processes: int = 64,
    port: int = 8501,
    variables: dict[str, str] | None = None,
) -> Spec:
    """A spec with small limits and no packages unless told otherwise."""
    return Spec(
        ref=Ref(environment_id or uuid.uuid5(uuid.NAMESPACE_URL, slug), slug, generation),
        content=Packages(source or PythonSource((), lock.python), lock),
        program=Program(command or server(), port, "/", ready_within_seconds),
        cpu_millis=1000,
        memory_bytes=memory_bytes,
        processes=processes,
        workspace_bytes=1024 * MIB,
        variables=variables or {},
    )


async def until(runtime: Runtime, ref: Ref, *sights: Sight, seconds: float = 30) -> Observation:
    """Look until one of ``sights`` is seen."""
    give_up_at = time.monotonic() + seconds
    while True:
        seen = await runtime.look(ref)
        if seen.sight in sights:
            return seen
        assert time.monotonic() < give_up_at, f"still {seen} after {seconds} s"
        await asyncio.sleep(0.01)


async def stop_and_remove(runtime: Runtime, *specs: Spec) -> None:
    """Bring environments to their end."""
    for spec in specs:
        await runtime.stop(spec.ref)
    for spec in specs:
        await until(runtime, spec.ref, Sight.EXITED, Sight.ABSENT)
        await runtime.remove(spec.ref, workspace=True)


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder below /tmp everybody may pass."""
    root = Path(tempfile.mkdtemp(prefix="cmb-", dir="/tmp"))
    root.chmod(0o755)
    try:
        yield root / "data"
    finally:
        shutil.rmtree(root)


def settings_for(data: Path, **changes: object) -> Settings:
    """Settings for tests: short grace, small log."""
    values: dict[str, object] = {"local_stop_grace_seconds": 3, "local_log_bytes": 65536, "_env_file": None}
    return Settings(data_dir=data, **(values | changes))  # type: ignore[arg-type]


def left_over(data: Path) -> list[str]:
    """Processes, mounts and control groups that name the data folder's environments."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        # A supervisor shows its run by the folder it works in.
        words = " ".join([*(process.info["cmdline"] or ()), "in", process.info["cwd"] or ""])
        if f"{data}/environments" in words or f"{data}/builds" in words:
            found.append(f"process {process.info['pid']}: {words[:120]}")
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(data) in line]
    slugs = {folder.name for folder in (data / "environments").glob("*")} if data.exists() else set()
    owner = hashlib.sha256(str(data).encode()).hexdigest()[:8]
    found += [f"control group {group}" for group in Path("/sys/fs/cgroup").glob(f"**/cmb-{owner}-*")]
    return found + [f"environment {slug}" for slug in sorted(slugs)]


def check_nothing_is_left(data: Path) -> None:
    """Fail when anything of an environment is left, after a moment for the kernel."""
    give_up_at = time.monotonic() + 3
    while left := left_over(data):
        assert time.monotonic() < give_up_at, "\n".join(left)
        time.sleep(0.05)


def clean_up(data: Path) -> None:
    """After a failed test: end its supervisors and forget its environments, so that the next one starts clean."""
    for record in (data / "environments").glob("*/runs/*/status.json"):
        status = json.loads(record.read_text())
        if "ended_at" not in status and start_ticks(status["supervisor"]) == status["supervisor_ticks"]:
            os.kill(status["supervisor"], signal.SIGKILL)
    for folder in (data / "environments").glob("*"):
        shutil.rmtree(folder, ignore_errors=True)
