"""Everything here runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platform import Platform, open_platform


@pytest.fixture
async def platform(tmp_path: Path, database_url: str) -> AsyncIterator[Platform]:
    """The platform of all tests, on each of the databases."""
    async with open_platform(tmp_path, database_url=database_url) as opened:
        yield opened
