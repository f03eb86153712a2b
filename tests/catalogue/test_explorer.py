"""The CMB explorer with its own packages: built as its users get it, checked inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from cmbcluster.catalogue.schema import load_seed

HERE = Path(__file__).parent
BUNDLED = Path(str(files("cmbcluster.catalogue").joinpath("bundled", "cmb_explorer")))


@pytest.fixture(scope="module")
def explorer_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the explorer's packages, and pytest beside them."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    required = bool(os.environ.get("CMB_REQUIRE_ALL"))
    if uv is None and not required:
        pytest.skip("uv is not installed")
    assert uv is not None
    source = next(each for each in load_seed() if each.id == "cmb-explorer").python_source()
    assert source is not None
    folder = tmp_path_factory.mktemp("explorer") / "venv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    build = subprocess.run(
        [uv, "pip", "install", "-q", "--python", str(python), *source.requirements, "pytest"],
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode and "dns error" in build.stderr.lower() and not required:
        pytest.skip("the package index cannot be reached")
    assert build.returncode == 0, build.stderr
    return python


@pytest.mark.index
def test_the_explorer_passes_its_checks(explorer_python: Path, tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "app")
    shutil.copy(HERE / "explorer_checks.py", tmp_path / "explorer_checks.py")
    (tmp_path / "empty.ini").write_text("[pytest]\npythonpath = app\n")
    ran = subprocess.run(
        [str(explorer_python), "-m", "pytest", "-q", "-c", "empty.ini", "explorer_checks.py"],
        cwd=tmp_path,
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(tmp_path), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
