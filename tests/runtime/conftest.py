"""Fixtures of tests that run real environments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.place import check_nothing_is_left, clean_up, data_folder


@pytest.fixture(scope="session")
def shared_data() -> Iterator[Path]:
    """One data folder for all tests: interpreters and builds are made once."""
    with data_folder() as data:
        yield data


@pytest.fixture
def data(shared_data: Path) -> Iterator[Path]:
    """The shared data folder; after the test no process, mount, control group or folder may be left."""
    yield shared_data
    try:
        check_nothing_is_left(shared_data)
    finally:
        clean_up(shared_data)
