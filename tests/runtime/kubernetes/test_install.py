"""The program that installs packages in a pod, run here: once for all, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from cmbcluster.runtime.kubernetes import install
from tests.runtime.kubernetes.installing import HERE, Pod

SLOW_UV = """#!/bin/sh
echo "$@" >>{log}
[ "$1" = venv ] && exec {uv} "$@"
sleep {seconds}
"""


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def slow_uv(pod: Pod, seconds: float) -> tuple[str, Path]:
    """A uv that takes its time over installing, and a log of how it was called."""
    log, folder = pod.root / "uv.log", pod.root / "bin"
    folder.mkdir()
    uv = Path(sys.executable).parent / "uv"
    (folder / "uv").write_text(SLOW_UV.format(log=log, uv=uv, seconds=seconds))
    (folder / "uv").chmod(0o755)
    return str(folder), log


def test_the_first_makes_it_and_the_next_finds_it(pod: Pod) -> None:
    with zipfile.ZipFile(pod.root / "cmb" / "bundled.zip", "w") as archive:
        archive.writestr("start.py", "print('hello')")
    code, told = pod.run()
    assert (code, told["cached"], told["workspace_bytes"]) == (0, False, 1000)
    made = pod.root / "packages" / "builds" / "k1"
    assert (made / "bundled" / "start.py").read_text() == "print('hello')"
    said = subprocess.run(
        [made / "bin" / "python", "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert said.stdout.strip() == str(made)
    code, told = pod.run()
    assert (code, told["cached"]) == (0, True)
    assert list((pod.root / "packages" / "half").iterdir()) == []


def test_another_python_is_said_and_nothing_is_made(pod: Pod) -> None:
    code, told = pod.run(python="3.1")
    assert (code, told) == (install.OTHER_PYTHON, {"has": HERE})
    assert pod.builds() == set()


def test_a_lock_that_cannot_be_installed_leaves_nothing(pod: Pod) -> None:
    pod.send("this is not a lock\n")
    code, _ = pod.run()
    assert code == install.NOT_INSTALLED
    assert pod.builds() == set()
    assert list((pod.root / "packages" / "half").iterdir()) == []


def test_two_at_once_build_once(pod: Pod) -> None:
    pod.send("idna==3.10\n")
    folder, log = slow_uv(pod, 1)
    both = [pod.begin(path=folder, name=f"told-{number}") for number in range(2)]
    assert [each.wait(60) for each in both] == [0, 0]
    assert sorted(json.loads((pod.root / f"told-{n}").read_text())["cached"] for n in range(2)) == [False, True]
    assert log.read_text().count("pip install") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_killed_leaves_nothing_that_looks_whole(pod: Pod, how: signal.Signals) -> None:
    pod.send("idna==3.10\n")
    folder, log = slow_uv(pod, 3)
    running = pod.begin(path=folder)
    give_up_at = time.monotonic() + 30
    while not (log.exists() and "pip install" in log.read_text()):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    running.send_signal(how)
    assert running.wait(10) != 0
    assert pod.builds() == set()
    if how is signal.SIGTERM:
        assert list((pod.root / "packages" / "half").iterdir()) == []
    pod.send("")
    assert pod.run()[0] == 0
    assert pod.builds() == {"k1"}


def test_a_build_whose_python_went_away_is_made_again(pod: Pod) -> None:
    assert pod.run()[0] == 0
    link = pod.root / "packages" / "builds" / "k1" / "bin" / "python"
    link.unlink()
    link.symlink_to("/nowhere/python")
    code, told = pod.run()
    assert (code, told["cached"]) == (0, False)
    assert os.path.realpath(link) == os.path.realpath(sys.executable)
