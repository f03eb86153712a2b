"""PostgreSQL as we use it: how connections are opened, which of them still live, and turns among replicas.

A lost connection must be noticed here, not by a person: one that the server closed is never
handed out, without asking the server before each transaction.
"""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from cmbcluster.database_settings import POSTGRESQL
from cmbcluster.errors import DatabaseUnavailable

# An answer that takes longer does not come any more; nothing of ours takes a second.
ANSWER_SECONDS = 30.0
LOCK_WAIT_SECONDS = 10
# A replica that was frozen inside a transaction must not hold its locks for ever.
IDLE_IN_TRANSACTION_SECONDS = 30
RECYCLE_SECONDS = 1800
MIGRATIONS_TURN = "migrations"
_REFUSALS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def pooled_engine(address: str, *, connections_at_once: int, wait_seconds: float) -> AsyncEngine:
    """An engine for the platform's work: bounded in connections and in waiting for one."""
    bounds = {
        "lock_timeout": f"{LOCK_WAIT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
    }
    engine = create_async_engine(
        f"{POSTGRESQL}://",
        async_creator=_Opener(address, bounds, wait_seconds, ANSWER_SECONDS),
        pool_size=connections_at_once,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_recycle=RECYCLE_SECONDS,
        pool_use_lifo=True,
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def on_checkout(connection: Any, _record: Any, _proxy: Any) -> None:
        # The driver hears at once that a server has gone; the pool then opens another connection.
        if connection.driver_connection.is_closed():
            raise DisconnectionError

    @event.listens_for(engine.sync_engine, "invalidate")
    def on_invalidate(connection: Any, _record: Any, _error: Any) -> None:
        # Closed as it is otherwise, the driver first waits for the server to say that it gave up what it was asked.
        # A server that crashed, or a network that swallows everything, never says so, and the wait has no end.
        connection.driver_connection.terminate()

    return engine


def migrating_engine(address: str, *, wait_seconds: float) -> AsyncEngine:
    """An engine for migrations, which may take as long as they take, and wait for each other."""
    return create_async_engine(
        f"{POSTGRESQL}://", async_creator=_Opener(address, {}, wait_seconds, None), poolclass=NullPool
    )


def take_turn(connection: Connection, name: str) -> None:
    """Wait until no other transaction holds the turn of this name, and hold it until this one ends."""
    connection.execute(TURN, {"name": f"cmbcluster:{name}"})


TURN = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class _Opener:
    """Opens connections from what the operator wrote, which the driver reads as PostgreSQL's own programs do."""

    def __init__(
        self, address: str, server_settings: dict[str, str], wait_seconds: float, answer_seconds: float | None
    ) -> None:
        self._address = address.replace(f"{POSTGRESQL}://", "postgresql://", 1)
        # Small statements by the thousand: compiling one takes longer than running it.
        self._server_settings = {"jit": "off", **server_settings}
        if "application_name=" not in address:
            self._server_settings["application_name"] = "cmbcluster"
        self._wait_seconds = wait_seconds
        self._answer_seconds = answer_seconds

    async def __call__(self) -> Any:
        try:
            return await asyncpg.connect(
                self._address,
                timeout=self._wait_seconds,
                command_timeout=self._answer_seconds,
                server_settings=self._server_settings,
            )
        except _REFUSALS as refused:
            why = str(refused) or type(refused).__name__
            raise DatabaseUnavailable(f"The database cannot be reached: {why}.".replace("..", ".")) from refused
