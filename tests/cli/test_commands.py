"""The command line as a person types it: what it prints, how it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmbcluster import __version__
from cmbcluster.setting_lines import example_file
from cmbcluster.settings import Settings


def run(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an empty folder with these settings and none of this machine's."""
    surroundings = {name: value for name, value in os.environ.items() if not name.upper().startswith("CMB_")}
    surroundings |= settings
    surroundings["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "cmbcluster", *arguments],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version(tmp_path: Path) -> None:
    assert run("--version", folder=tmp_path).stdout == f"cmbcluster {__version__}\n"


def test_settings_table(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CMB_PORT=9001\n")
    done = run("settings", folder=tmp_path, CMB_DATABASE_URL="postgresql://u:hunter2@db/x", CMB_DATA_DIR="data")
    assert done.returncode == 0, done.stderr
    for name in Settings.model_fields:
        assert f"CMB_{name.upper()}" in done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("CMB_")}
    assert "9001" in rows["CMB_PORT"]
    assert ".env file" in rows["CMB_PORT"]
    assert str(tmp_path / "data") in rows["CMB_DATA_DIR"]
    assert "environment" in rows["CMB_DATABASE_URL"]
    assert "hunter2" not in done.stdout
    assert "********" in rows["CMB_DATABASE_URL"]


def test_settings_example(tmp_path: Path) -> None:
    assert run("settings", "--example", folder=tmp_path).stdout == example_file()


@pytest.mark.parametrize("command", [("up",), ("settings",), ("admin", "builds"), ("admin", "grant", "a@example.org")])
def test_wrong_settings_are_refused_in_words(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(*command, folder=tmp_path, CMB_BIND_ADDRESS="0.0.0.0")
    assert done.returncode == 1
    assert "Set CMB_BIND_ADDRESS=127.0.0.1." in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_grant_to_nobody(tmp_path: Path) -> None:
    done = run("admin", "grant", "nobody@example.org", folder=tmp_path, CMB_DATA_DIR=str(tmp_path / "data"))
    assert done.returncode == 1
    assert "sign in once" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_builds_yet(open_folder: Path) -> None:
    done = run("admin", "builds", folder=open_folder, CMB_DATA_DIR=str(open_folder / "data"))
    assert done.returncode == 0, done.stderr
    assert "Nothing has been built yet." in done.stdout


def test_help_and_settings_load_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['cmbcluster', 'settings']\n"
        "from cmbcluster.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'reflex', 'sqlalchemy', 'starlette', 'uvicorn'} & set(sys.modules)\n"
        "raise SystemExit(f'loaded {heavy}' if heavy else 0)\n"
    )
    surroundings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
