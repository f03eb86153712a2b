"""What a server loads: not the HTTP clients and highlighters that its libraries would like to have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNNEEDED = ("aiohttp", "requests", "websocket", "pygments")

_LOADED = f"""
import sys
from cmbcluster.commands.optional_imports import load_without_optional_parts
load_without_optional_parts()
import cmbcluster.commands.up, cmbcluster.web.application
print(*sorted(set({UNNEEDED!r}) & set(sys.modules)))
"""
_LATER = f"""
from cmbcluster.commands.optional_imports import load_without_optional_parts
load_without_optional_parts()
import importlib
for name in {UNNEEDED!r}:
    importlib.import_module(name)
from kubernetes import client
client.ApiClient()
print("all there")
"""


def said(program: str, folder: Path) -> str:
    """What a Python of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_platform_does_without_what_a_server_never_calls(tmp_path: Path) -> None:
    assert said(_LOADED, tmp_path) == ""


def test_nothing_stays_hidden_for_those_who_need_it_later(tmp_path: Path) -> None:
    assert said(_LATER, tmp_path) == "all there"
