"""May a role work with the database it is given? It asks the schema's level and nothing else.

A role never starts over a schema that is not its own. One that runs goes on when the schema
becomes newer: an upgrade migrates first and replaces the processes one after the other, and
if all of them stopped at the first step, everybody would see it.
"""

from __future__ import annotations

import asyncio

import structlog

from cmbcluster.commands.roles.health import Health
from cmbcluster.db.database import Database
from cmbcluster.db.level import Level, level_of
from cmbcluster.errors import DatabaseUnavailable
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)

LOOK_AGAIN_SECONDS = 2.0
AWAY = "The database does not answer."
_REASONS = {
    Level.CURRENT: "",
    Level.EMPTY: "The database has no schema yet. Run `cmbcluster migrate` of this version.",
    Level.OLDER: "The schema of the database is older than this version. Run `cmbcluster migrate` of this version.",
    Level.NEWER: "The schema of the database is newer than this version. Run the version that made it.",
}


class Schema:
    """Looks over a connection of its own, so that work never makes it wait."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(
            settings.sqlalchemy_url, connections_at_once=1, wait_seconds=settings.database_wait_seconds
        )

    async def why_not_start(self) -> str:
        """Why a role may not begin to work, or nothing."""
        try:
            return _REASONS[await level_of(self._database)]
        except DatabaseUnavailable:
            return AWAY

    async def why_not_work(self) -> str:
        """Why a role that has begun gets no work at the moment, or nothing."""
        try:
            level = await level_of(self._database)
        except DatabaseUnavailable:
            return AWAY
        return "" if level is Level.NEWER else _REASONS[level]

    async def wait(self, tell: Health) -> None:
        """Return when a role may begin; until then its health says why it may not."""
        said = ""
        while reason := await self.why_not_start():
            tell.reason = reason
            if reason != said:
                logger.warning("waiting for the database", reason=reason)
            said = reason
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def close(self) -> None:
        """Close the connection."""
        await self._database.close()
