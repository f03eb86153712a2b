"""Trying out a machine's tools: what they said is told, and nothing of them stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cmbcluster.packages import probing
from cmbcluster.packages.account import Account
from cmbcluster.packages.probing import complaint_of, tun_closed
from cmbcluster.runtime.local.process_tree import start_ticks

OWN = Account("me", 0, 0, changes=False)
OTHER = Account("them", 54321, 54321, changes=True)


def test_the_last_line_a_tool_said_is_what_it_complains_of() -> None:
    assert complaint_of(["/bin/true"], OWN) is None
    assert complaint_of(["/bin/sh", "-c", "echo first >&2; echo last >&2; exit 1"], OWN) == "last"
    assert complaint_of(["/bin/sh", "-c", "exit 7"], OWN) == "exit code 7"
    assert complaint_of(["/nowhere/tool"], OWN) == "No such file or directory"
    assert complaint_of(["/bin/sleep", "30"], OWN, 0.2) == "it did not answer"


def test_a_child_left_behind_neither_delays_the_answer_nor_stays(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    began = time.monotonic()
    said = complaint_of(["/bin/sh", "-c", f"sleep 60 & echo $! > {note}; echo broken >&2; exit 1"], OWN)
    assert said == "broken"
    assert time.monotonic() - began < 10
    child = int(note.read_text())
    give_up_at = time.monotonic() + 3
    while start_ticks(child) is not None:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_a_closed_tun_device_is_named_with_what_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "tun"
    monkeypatch.setattr(probing, "TUN", device)
    assert tun_closed(OTHER)[0] == f"{device} is not there"
    device.touch(0o600)
    device.chmod(0o600)
    what, mend = tun_closed(OTHER)
    assert what == f"{device} is closed to the account them"
    assert mend.endswith(f"chmod a+rw {device}")
    device.chmod(0o666)
    assert tun_closed(OTHER) == ("", "")
