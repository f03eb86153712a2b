"""Engine, transactions and migrations.

Writing transactions on SQLite begin IMMEDIATE, so that what is counted inside them stays
true until they commit; on PostgreSQL the repositories lock the owner's row instead. All
SQLite-only statements of the project are in ``sqlite``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import alembic.command
import alembic.config
from sqlalchemy import Connection, func
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db import sqlite
from cmbcluster.db.access import GateCodes
from cmbcluster.db.catalogue import Applications
from cmbcluster.db.environments import Environments
from cmbcluster.db.identities import Identities, SignInAttempts
from cmbcluster.db.people import Sessions, Users
from cmbcluster.db.records import ActivityRows, Notices
from cmbcluster.db.registries import RegistryAccounts
from cmbcluster.db.scripts import ApiTokens, LaunchKeys
from cmbcluster.db.shares import Shares
from cmbcluster.errors import CMBClusterError, DatabaseUnavailable

MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "alembic"


class KeyTaken(CMBClusterError):
    """A unique key refused a row: somebody else wrote the same thing at the same moment."""


class Work:
    """One transaction: the repositories over one session, and the database's clock."""

    def __init__(self, session: AsyncSession, clock: Callable[[], datetime] | None) -> None:
        self._session = session
        self._clock = clock
        self.users = Users(session)
        self.identities = Identities(session)
        self.sign_in_attempts = SignInAttempts(session)
        self.sessions = Sessions(session)
        self.applications = Applications(session)
        self.environments = Environments(session)
        self.activity = ActivityRows(session)
        self.notices = Notices(session)
        self.gate_codes = GateCodes(session)
        self.shares = Shares(session)
        self.api_tokens = ApiTokens(session)
        self.launch_keys = LaunchKeys(session)
        self.registry_accounts = RegistryAccounts(session)

    async def now(self) -> datetime:
        """The database's time. SQLite has this machine's, so it need not be asked."""
        if self._clock is not None:
            return self._clock()
        if self._session.get_bind().dialect.name == "sqlite":
            return datetime.now(UTC)
        moment: datetime = (await self._session.exec(select(func.clock_timestamp()))).one()
        return moment

    async def flush(self) -> None:
        """Send what was added so far, so that a violated key shows here."""
        await self._session.flush()


class Database:
    """The one way to the database. ``clock`` replaces its time in tests."""

    def __init__(self, url: str, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock
        # One writer at a time is SQLite's rule. Who waits here is woken in turn; who waits in
        # SQLite sleeps for ever longer moments and looks again.
        self._turn: AbstractAsyncContextManager[None] = nullcontext()
        if url.startswith("sqlite"):
            self.engine: AsyncEngine = create_async_engine(url, module=sqlite.Driver())
            sqlite.prepare(self.engine.sync_engine)
            self._turn = asyncio.Lock()
        else:
            self.engine = create_async_engine(url, pool_pre_ping=True)
        writing = self.engine.execution_options(cmb_begin="IMMEDIATE")
        self._read = async_sessionmaker(self.engine, class_=AsyncSession, expire_on_commit=False)
        self._write = async_sessionmaker(writing, class_=AsyncSession, expire_on_commit=False)

    async def migrate(self) -> None:
        """Bring the schema to its newest form; the one path to it, in tests too."""
        async with self.engine.begin() as connection:
            await connection.run_sync(_upgrade)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        """A transaction that may write; commits at the end, rolls back on any exception."""
        async with self._turn, self._opened(self._write) as work:
            yield work

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Work]:
        """A transaction that only reads."""
        async with self._opened(self._read) as work:
            yield work

    @asynccontextmanager
    async def _opened(self, sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[Work]:
        try:
            async with sessions() as session, session.begin():
                yield Work(session, self._clock)
        except IntegrityError as clash:
            raise KeyTaken(f"a key refused the row: {type(clash.orig).__name__}") from clash
        except OperationalError as failed:
            raise DatabaseUnavailable(f"the database did not answer: {type(failed.orig).__name__}") from failed
        except DBAPIError as failed:
            if failed.connection_invalidated:
                raise DatabaseUnavailable("the connection to the database was lost") from failed
            raise


def _upgrade(connection: Connection) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
