"""``cmbcluster migrate``: schema and catalogue brought up to date, before the roles of this version start."""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cmbcluster import logs
from cmbcluster.commands.roles.process import refuse_sqlite
from cmbcluster.errors import StartRefused
from cmbcluster.operating import prepare_database
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)


def run_migrate(settings: Settings) -> int:
    """Do it once; the exit status. Raises StartRefused when the database does not let us."""
    logs.configure(settings)
    refuse_sqlite(settings, "migrate")
    try:
        asyncio.run(prepare_database(settings))
    except (OSError, SQLAlchemyError) as failed:
        # The text of the error itself may repeat the address, and a password is in it.
        raise StartRefused(
            f"The database could not be brought up to date ({type(failed).__name__}). See that it runs, and that "
            "CMB_DATABASE_URL names a database that its user may change."
        ) from failed
    logger.info("schema and catalogue are up to date")
    return 0
