"""Engine, transactions and migrations.

Writing transactions on SQLite begin IMMEDIATE, so that what is counted inside them stays
true until they commit; on PostgreSQL the repositories lock the owner's row instead, always
before an environment's. A transaction that only reads sees one moment on both. All that one of
the two needs and the other does not is in ``sqlite`` and ``postgres``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import alembic.command
import alembic.config
from sqlalchemy import Connection, func
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.database_settings import is_postgresql
from cmbcluster.db import sqlite
from cmbcluster.db.access import GateCodes
from cmbcluster.db.catalogue import Applications
from cmbcluster.db.environments import Environments
from cmbcluster.db.failures import TRANSLATED, meaning
from cmbcluster.db.identities import Identities, SignInAttempts
from cmbcluster.db.leases import Leases
from cmbcluster.db.people import Sessions, Users
from cmbcluster.db.records import ActivityRows, Notices
from cmbcluster.db.registries import RegistryAccounts
from cmbcluster.db.scripts import ApiTokens, LaunchKeys
from cmbcluster.db.shares import Shares

MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "alembic"
CONNECTIONS_AT_ONCE = 20
WAIT_SECONDS = 5.0


class Work:
    """One transaction: the repositories over one session, and the database's clock."""

    def __init__(self, session: AsyncSession, clock: Callable[[], datetime] | None) -> None:
        self._session = session
        self._clock = clock
        self._asked: tuple[datetime, float] | None = None
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
        self.leases = Leases(session)
        self.registry_accounts = RegistryAccounts(session)

    async def now(self) -> datetime:
        """The database's time, which is the same for all replicas. SQLite has this machine's."""
        if self._clock is not None:
            return self._clock()
        if not self._on_postgresql:
            return datetime.now(UTC)
        if self._asked is None:
            # Asked once; how long ago that was, every machine can tell.
            moment: datetime = (await self._session.exec(select(func.clock_timestamp()))).one()
            self._asked = moment.astimezone(UTC), time.monotonic()
        then, at = self._asked
        return then + timedelta(seconds=time.monotonic() - at)

    async def take_turn(self, name: str) -> None:
        """Wait until nobody else does what has this name, and keep others out until the transaction ends.

        Writing transactions on SQLite are one at a time anyway.
        """
        if self._on_postgresql:
            from cmbcluster.db import postgres

            await (await self._session.connection()).run_sync(postgres.take_turn, name)

    async def flush(self) -> None:
        """Send what was added so far, so that a violated key shows here."""
        await self._session.flush()

    @property
    def _on_postgresql(self) -> bool:
        return self._session.get_bind().dialect.name == "postgresql"


class Database:
    """The one way to the database. ``clock`` replaces its time in tests.

    ``connections_at_once`` and ``wait_seconds`` bound the pool of PostgreSQL's connections, and
    the wait for a free or a new one.
    """

    def __init__(
        self,
        url: str,
        clock: Callable[[], datetime] | None = None,
        *,
        connections_at_once: int = CONNECTIONS_AT_ONCE,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._clock = clock
        self._url = url
        self._wait_seconds = wait_seconds
        # One writer at a time is SQLite's rule. Who waits here is woken in turn; who waits in
        # SQLite sleeps for ever longer moments and looks again.
        self._turn: AbstractAsyncContextManager[None] = nullcontext()
        if is_postgresql(url):
            # Loaded only where it is used: its driver costs a laptop memory and time at the start.
            from cmbcluster.db import postgres

            self.engine: AsyncEngine = postgres.pooled_engine(
                url, connections_at_once=connections_at_once, wait_seconds=wait_seconds
            )
            # One moment for all that is read, as on SQLite; such a transaction never fails for it.
            reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            writing = self.engine
            glancing = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        else:
            self.engine = create_async_engine(url, module=sqlite.Driver(), hide_parameters=True)
            sqlite.prepare(self.engine.sync_engine)
            self._turn = asyncio.Lock()
            reading = self.engine
            writing = self.engine.execution_options(cmb_begin="IMMEDIATE")
            glancing = self.engine.execution_options(cmb_begin="")
        self._read = async_sessionmaker(reading, class_=AsyncSession, expire_on_commit=False)
        self._glance = async_sessionmaker(glancing, class_=AsyncSession, expire_on_commit=False)
        self._write = async_sessionmaker(writing, class_=AsyncSession, expire_on_commit=False)

    async def migrate(self) -> None:
        """Bring the schema to its newest form; the one path to it, in tests too.

        Replicas that start together do it one after the other, and all but the first find it done.
        """
        if not is_postgresql(self._url):
            async with self.engine.begin() as connection:
                await connection.run_sync(_upgrade)
            return
        from cmbcluster.db import postgres

        engine = postgres.migrating_engine(self._url, wait_seconds=self._wait_seconds)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(postgres.take_turn, postgres.MIGRATIONS_TURN)
                await connection.run_sync(_upgrade)
        except TRANSLATED as failed:
            raise meaning(failed, committing=False) from failed
        finally:
            await engine.dispose()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        """A transaction that may write; commits at the end, rolls back on any exception.

        Raises KeyTaken, Clashed (nothing was kept), CommitUnknown, or DatabaseUnavailable.
        """
        async with self._turn, self._opened(self._write) as work:
            yield work

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Work]:
        """A transaction that only reads, and sees one moment."""
        async with self._opened(self._read) as work:
            yield work

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Work]:
        """For one statement that reads: nothing is begun before it or ended after it, which would cost as much again.

        Two statements in it may see two states of the database; they belong into ``reading``.
        """
        async with self._opened(self._glance) as work:
            yield work

    @asynccontextmanager
    async def _opened(self, sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[Work]:
        committing = False
        try:
            async with sessions() as session, session.begin():
                yield Work(session, self._clock)
                await session.flush()
                committing = True
        except TRANSLATED as failed:
            raise meaning(failed, committing=committing) from failed


def _upgrade(connection: Connection) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
