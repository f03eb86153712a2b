"""Starting, being killed, starting again and stopping: nothing is lost and nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import ROOT, Running, free_port, launch_own, sign_in, start_platform, stop_platform

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.index]


@pytest.fixture
def data() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cmb-life-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _launch_small(page: Page, up: Running) -> str:
    """A custom application of one small package that answers at once; returns its id."""
    python = ".".join(map(str, sys.version_info[:2]))
    command = "python -m http.server {port} --bind {address}"
    environment_id = launch_own(page, up, name="small", requirements="six", python=python, command=command)
    expect(page.locator("main .phase").first).to_have_text("Running", timeout=120_000)
    return environment_id


def _words(process: psutil.Process) -> str:
    """How it was called; nothing when it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _ours(data: Path) -> list[psutil.Process]:
    """Processes that belong to a data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            # A supervisor shows its run by the folder it works in.
            if any(str(data) in word for word in (*process.cmdline(), process.cwd())):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_killed_and_started_again_it_adopts_and_a_clean_stop_leaves_nothing(browser: Browser, data: Path) -> None:
    port = free_port()
    up = start_platform(data, port)
    context, page = sign_in(browser, up, "Ada")
    environment_id = _launch_small(page, up)
    supervisors = {p.pid for p in _ours(data) if "supervisor.py" in _words(p)}
    assert supervisors
    deadline = page.locator("main time[role=timer]").first.get_attribute("datetime")

    second = subprocess.run(
        [sys.executable, "-m", "cmbcluster", "up"],
        cwd=ROOT,
        env={**os.environ, "CMB_DATA_DIR": str(data), "CMB_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert str(up.process.pid) in second.stdout + second.stderr
    assert "Traceback" not in second.stdout + second.stderr

    up.process.send_signal(signal.SIGKILL)
    up.process.wait(10)
    assert supervisors <= {p.pid for p in _ours(data)}

    again = start_platform(data, port)
    page.goto(f"{again.url}/environments/{environment_id}")
    expect(page.locator("main .phase").first).to_have_text("Running", timeout=30_000)
    assert page.locator("main time[role=timer]").first.get_attribute("datetime") == deadline
    assert supervisors <= {p.pid for p in _ours(data)}
    context.close()

    printed = stop_platform(again)
    assert again.process.returncode == 0
    assert "Traceback" not in printed
    assert _ours(data) == []
    assert not any(path.is_socket() for path in data.rglob("*"))
    assert str(data) not in Path("/proc/self/mountinfo").read_text()


def test_a_port_in_use_says_which_and_what_changes_it(data: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = subprocess.run(
            [sys.executable, "-m", "cmbcluster", "up"],
            cwd=ROOT,
            env={**os.environ, "CMB_DATA_DIR": str(data), "CMB_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1
    assert str(port) in said
    assert "CMB_PORT" in said
    assert "Traceback" not in said
