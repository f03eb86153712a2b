"""The small starter for Streamlit pages inside packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

START = Path(str(files("cmbcluster.catalogue").joinpath("bundled", "streamlit_page", "start.py")))

CLI = """
import sys
def main(prog_name):
    print(prog_name, *sys.argv)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages: a recording stand-in for Streamlit's own start, and a page."""
    for name in ("streamlit/web/cli.py", "paged/__init__.py", "paged/gui/page.py", "slow.py", "broken.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "streamlit/web/cli.py").write_text(CLI)
    (tmp_path / "paged/__init__.py").write_text("raise RuntimeError('finding the page must not import it')")
    (tmp_path / "slow.py").write_text("print('loaded slow')")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    return tmp_path


def start(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(START), *arguments],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_page_is_found_and_options_are_passed_on(site: Path) -> None:
    ran = start(site, "paged", "gui/page.py", "--import=slow", "--", "--server.port=8501", "--x")
    page = site / "paged/gui/page.py"
    assert ran.stdout.splitlines() == ["loaded slow", f"streamlit streamlit run {page} --server.port=8501 --x"]
    assert ran.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "app.py"), "The package nowhere is not installed here."),
        (("paged", "other.py"), "The package paged has no other.py."),
        (("paged", "gui/page.py", "--import=broken"), "No module named 'nothing_of_this_name'"),
    ],
)
def test_what_is_missing_ends_the_program_with_its_reason(site: Path, arguments: tuple[str, ...], says: str) -> None:
    ran = start(site, *arguments)
    assert ran.returncode != 0
    assert says in ran.stderr
