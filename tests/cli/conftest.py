"""Shared by the tests of the command line."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may pass: the account of environments cannot pass through pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="cmb-cli-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
