"""How far the schema of a database is, compared with what this code was written for.

A process that finds another schema than its own must neither read nor write: what it would
see is not what it means. This module never changes a schema.
"""

from __future__ import annotations

import asyncio
import functools
from enum import StrEnum

import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cmbcluster.db.database import MIGRATIONS, Database
from cmbcluster.errors import DatabaseUnavailable

ANSWER_SECONDS = 5.0


class Level(StrEnum):
    """The schema of a database, seen from this code."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


@functools.cache
def _revisions() -> tuple[str, ...]:
    """Every revision this code knows, the newest first."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return tuple(script.revision for script in ScriptDirectory.from_config(config).walk_revisions())


async def level_of(database: Database) -> Level:
    """What the database has; raises DatabaseUnavailable when it does not answer in time."""
    known = await asyncio.to_thread(_revisions)
    try:
        async with asyncio.timeout(ANSWER_SECONDS), database.engine.connect() as connection:
            revision = await connection.run_sync(_revision)
    except (OSError, TimeoutError, SQLAlchemyError) as failed:
        raise DatabaseUnavailable(f"the database did not answer: {type(failed).__name__}") from failed
    if revision is None:
        return Level.EMPTY
    if revision == known[0]:
        return Level.CURRENT
    # A revision that this code does not know was written by code that came later.
    return Level.OLDER if revision in known else Level.NEWER


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
