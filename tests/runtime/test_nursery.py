"""Where supervisors come from: they outlive it, it outlives nobody, and a killed one is replaced."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cmbcluster.runtime.local.nursery import Nursery, Spawned
from cmbcluster.runtime.local.process_tree import start_ticks
from cmbcluster.runtime.local.supervision import COMPLAINT, LAUNCH, STATUS, write_atomically


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    made.open()
    yield made
    made.close()


def a_run(folder: Path, seconds: float = 30) -> Path:
    """A run's folder with a launch file for a program that only sleeps."""
    folder.mkdir(parents=True)
    launch = {
        "argv": ["/bin/sleep", str(seconds)], "environment": {}, "bare": True, "folder": "/", "account": None,
        "cgroups": [], "cpus": [], "scope": False, "measure": False, "memory_bytes": 1 << 30, "processes": 10,
        "grace_seconds": 1, "log_bytes": 65536,
    }  # fmt: skip
    write_atomically(str(folder / LAUNCH), launch)
    return folder


def is_told(spawned: Spawned, seconds: float = 10) -> bool:
    """Whether the pipe was closed by everybody who held it."""
    try:
        return bool(select.select([spawned.started], [], [], seconds)[0]) and os.read(spawned.started, 1) == b""
    finally:
        os.close(spawned.started)


def end(spawned: Spawned) -> None:
    os.kill(spawned.pid, signal.SIGTERM)
    assert until_gone(spawned.pid)


def until_gone(pid: int, seconds: float = 10) -> bool:
    give_up_at = time.monotonic() + seconds
    while start_ticks(pid) is not None:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


def test_a_supervisor_has_a_session_and_a_folder_of_its_own(nursery: Nursery, tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run")
    spawned = nursery.spawn(folder)
    assert is_told(spawned)
    assert os.getsid(spawned.pid) == spawned.pid
    assert psutil.Process(spawned.pid).cwd() == str(folder)
    assert (folder / STATUS).exists()
    assert not (folder / LAUNCH).exists()
    assert (folder / COMPLAINT).read_text() == ""
    end(spawned)


def test_supervisors_outlive_the_process_they_come_from(nursery: Nursery, tmp_path: Path) -> None:
    spawned = nursery.spawn(a_run(tmp_path / "run"))
    assert is_told(spawned)
    parent = psutil.Process(spawned.pid).ppid()
    nursery.close()
    assert not psutil.pid_exists(parent)
    assert psutil.pid_exists(spawned.pid)
    end(spawned)


def test_it_ends_with_a_platform_that_was_killed(tmp_path: Path) -> None:
    platform = os.fork()
    note = tmp_path / "pid"
    if platform == 0:
        # What the kernel does with our end of the channel at kill -9 is what counts here.
        made = Nursery()
        made.open()
        note.write_text(str(made._pid))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(platform, 0)
    assert until_gone(int(note.read_text()))


def test_a_killed_one_is_replaced_with_the_next_launch(nursery: Nursery, tmp_path: Path) -> None:
    first = nursery.spawn(a_run(tmp_path / "one"))
    assert is_told(first)
    os.kill(psutil.Process(first.pid).ppid(), signal.SIGKILL)
    second = nursery.spawn(a_run(tmp_path / "two"))
    assert is_told(second)
    end(first)
    end(second)


def test_one_that_cannot_begin_says_why_and_is_gone(nursery: Nursery, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    spawned = nursery.spawn(empty)
    assert is_told(spawned)
    assert until_gone(spawned.pid)
    assert "FileNotFoundError" in (empty / COMPLAINT).read_text()
    # The next one is not harmed by it.
    fine = nursery.spawn(a_run(tmp_path / "fine"))
    assert is_told(fine)
    end(fine)


def test_many_at_once_get_one_each(nursery: Nursery, tmp_path: Path) -> None:
    made: list[Spawned] = []
    folders = [a_run(tmp_path / str(number)) for number in range(12)]
    threads = [threading.Thread(target=lambda each=each: made.append(nursery.spawn(each))) for each in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.pid for one in made}) == 12
    assert {psutil.Process(one.pid).cwd() for one in made if is_told(one)} == {str(folder) for folder in folders}
    for one in made:
        end(one)
