"""Databases of these tests: migrated and empty ones, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cmbcluster.database_settings import sqlalchemy_address
from cmbcluster.db.database import Database


@pytest.fixture
async def migrated(database_url: str) -> AsyncIterator[Database]:
    """A database with the newest schema and nothing in it."""
    opened = Database(sqlalchemy_address(database_url), wait_seconds=2.0)
    await opened.migrate()
    yield opened
    await opened.close()
