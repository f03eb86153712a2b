"""``cmbcluster up`` as a process: starts, says what is needed, refuses a second one, leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from cmbcluster.edge.frontend import find_bun, project_root, sources_key
from cmbcluster.errors import StartRefused
from tests.edge.stand_ins import free_port

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 240
READY_TIMES_LOADING = 2.0
IDLE_BYTES = 200 * 1024**2


def _can_build() -> bool:
    try:
        find_bun(project_root())
    except StartRefused:
        return False
    return True


pytestmark = pytest.mark.skipif(
    not _can_build() and not os.environ.get("CMB_REQUIRE_ALL"),
    reason="needs bun: npm install --prefix .tools bun@1.4.5",
)


class Up:
    """One running ``cmbcluster up``."""

    def __init__(self, data: Path, port: int) -> None:
        self.data, self.port = data, port
        surroundings = {name: value for name, value in os.environ.items() if not name.upper().startswith("CMB_")}
        surroundings |= {"CMB_DATA_DIR": str(data), "CMB_PORT": str(port), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        self.log = data.parent / f"up-{time.monotonic_ns()}.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cmbcluster", "up"],
                cwd=data.parent,
                env=surroundings,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Everything printed so far."""
        return self.log.read_text()

    def wait_ready(self, seconds: float = BUILD_SECONDS) -> float:
        """Return the seconds until it said that it is ready."""
        since = time.monotonic()
        while time.monotonic() - since < seconds:
            if "is ready after" in self.said and "workspaces kept" in self.said:
                return time.monotonic() - since
            assert self.process.poll() is None, self.said
            time.sleep(0.02)
        raise AssertionError(f"not ready within {seconds} s:\n{self.said}")

    def family(self) -> list[psutil.Process]:
        """It and everything it started."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def end(self) -> None:
        """Make sure that nothing of this test stays."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


Start = Callable[..., Up]


@pytest.fixture
def start(open_folder: Path) -> Iterator[Start]:
    """Start ``up`` on a data folder; all are ended afterwards."""
    started: list[Up] = []

    def begin(name: str = "data", port: int = 0) -> Up:
        started.append(Up(open_folder / name, port or free_port()))
        return started[-1]

    yield begin
    for each in started:
        each.end()


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def leftovers(data: Path) -> list[str]:
    """Sockets, and everything below the folder that lives as long as the process."""
    found = [str(path) for path in (data / "run").rglob("*")] if (data / "run").exists() else []
    return found + [str(path) for path in data.rglob("*") if path.is_socket()]


def test_a_whole_life(start: Start) -> None:
    first = start()
    first.wait_ready()
    address = f"http://localhost:{first.port}"
    for words in (address, str(first.data), "Ada Lovell", "Ctrl-C"):
        assert words in first.said
    assert httpx.get(f"http://127.0.0.1:{first.port}/healthz", headers={"Host": f"localhost:{first.port}"}).json() == {
        "status": "ok",
        "version": "0.1.0",
    }
    page = httpx.get(f"http://127.0.0.1:{first.port}/", headers={"Host": f"localhost:{first.port}"})
    assert page.status_code == 200
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    scripts = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
    assert scripts
    for path in scripts[:3]:
        asset = httpx.get(f"http://127.0.0.1:{first.port}{path}", headers={"Host": f"localhost:{first.port}"})
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"

    second = start(port=free_port())
    assert second.process.wait(30) == 1
    assert f"process {first.process.pid}, at {address}" in second.said
    assert "Traceback" not in second.said
    third = start("other", first.port)
    assert third.process.wait(30) == 1
    assert f"Port {first.port}" in third.said
    assert "CMB_PORT" in third.said
    assert leftovers(third.data) == []

    family = first.family()
    assert any("caddy" in process.name() for process in family)
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(20) == 0
    assert "Stopped. Nothing is running any more." in first.said
    assert not any(process.is_running() for process in family)
    assert leftovers(first.data) == []
    assert port_is_free(first.port)
    assert '"level": "error"' not in first.said
    assert '"level": "warning"' not in first.said

    again = start(port=first.port)
    again.wait_ready()
    # Processor time rather than the clock, which on a busy machine measures the others; and beside
    # what loading the code takes here and now, since machines differ and change.
    used = sum(sum(process.cpu_times()[:2]) for process in again.family())
    loading = loading_seconds()
    assert used < READY_TIMES_LOADING * loading, f"ready after {used:.1f} s of processor time, {loading:.1f} s to load"


def loading_seconds() -> float:
    """The processor time that loading the platform's code takes, as measured now."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import cmbcluster.commands.up, cmbcluster.cmbcluster"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_kill_nine_leaves_nothing_that_is_in_the_way(start: Start) -> None:
    first = start()
    first.wait_ready()
    caddy = next(process for process in first.family() if "caddy" in process.name())
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    if sys.platform == "linux":
        assert wait_until(lambda: not caddy.is_running() or caddy.status() == psutil.STATUS_ZOMBIE)
    again = start(port=first.port)
    again.wait_ready()
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(20) == 0
    assert leftovers(again.data) == []


def test_ctrl_c_while_starting(start: Start) -> None:
    up = start()
    assert wait_until(lambda: (up.data / "up.lock").exists())
    time.sleep(0.3)
    family = up.family()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(20) in (0, 130), up.said
    assert "Traceback" not in up.said
    assert wait_until(lambda: not any(process.is_running() for process in family))
    assert leftovers(up.data) == []


def test_idle_is_small_and_still(start: Start) -> None:
    up = start()
    up.wait_ready()
    time.sleep(2)
    family = up.family()
    if sys.platform == "linux":
        size = sum(process.memory_full_info().pss for process in family)
        assert size < IDLE_BYTES, f"{size / 1024**2:.0f} MiB"
    before = sum(sum(process.cpu_times()[:2]) for process in family)
    time.sleep(5)
    used = sum(sum(process.cpu_times()[:2]) for process in family) - before
    assert used <= 0.1, f"{used:.2f} s of processor time in 5 s of doing nothing"


def test_old_frontends_go_and_the_new_one_is_pointed_at_its_port(start: Start) -> None:
    up = start()
    (up.data / "frontend" / "old").mkdir(parents=True, exist_ok=True)
    up.wait_ready()
    kept = list((up.data / "frontend").iterdir())
    assert [folder.name.partition("-")[0] for folder in kept] == [sources_key(ROOT)]
    texts = [path.read_bytes() for path in kept[0].rglob("*.js")]
    assert any(f"localhost:{up.port}".encode() in text for text in texts)
    assert not any(b"localhost:8200" in text for text in texts)
