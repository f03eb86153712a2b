"""SQLite as we use it: how connections are opened, and one visit to their thread a statement.

A connection of SQLite lives in a thread of its own, and the stock driver goes there four
times for every statement (make a cursor, execute, fetch, close). Each visit costs more than
the statement itself, so here all four are one, and a transaction begins on the visit of its
first statement. This module must never change what a statement means.
"""

from __future__ import annotations

import collections
import sqlite3
from dataclasses import dataclass
from typing import Any, cast

import aiosqlite
from sqlalchemy import Connection, Engine, event
from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_connection
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.util import immutabledict
from sqlalchemy.util.concurrency import await_

BUSY_TIMEOUT_MILLISECONDS = 10_000


@dataclass(frozen=True)
class _Executed:
    """What a closed cursor left: all that is asked of one after its rows were fetched."""

    description: Any
    rowcount: int
    lastrowid: int | None


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that exists in the connection's thread only while it executes."""

    __slots__ = ()
    _cursor: Any
    _adapt_connection: _Connection

    def __init__(self, adapt_connection: AsyncAdapt_dbapi_connection) -> None:
        self._adapt_connection = cast(_Connection, adapt_connection)
        self._connection = adapt_connection._connection
        self._cursor = _Executed(None, -1, None)
        self._rows = collections.deque()
        self._soft_closed_memoized = immutabledict()

    def execute(self, operation: Any, parameters: Any = None) -> Any:
        """Execute and fetch all rows in one visit."""
        return self._visit(sqlite3.Cursor.execute, operation, parameters if parameters is not None else ())

    def executemany(self, operation: Any, seq_of_parameters: Any) -> Any:
        """Execute once for each set of parameters, in one visit."""
        return self._visit(sqlite3.Cursor.executemany, operation, seq_of_parameters)

    def close(self) -> None:
        """Forget the rows; the real cursor is closed already."""
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Nothing to do: the real cursor is closed already."""

    def _visit(self, act: Any, operation: Any, parameters: Any) -> Any:
        connection: Any = self._connection
        begin = self._adapt_connection.take_begin()

        def execute_and_fetch() -> tuple[list[Any], _Executed]:
            cursor = connection._conn.cursor()
            try:
                if begin:
                    cursor.execute(begin)
                act(cursor, operation, parameters)
                rows = cursor.fetchall() if cursor.description else []
                return rows, _Executed(cursor.description, cursor.rowcount, cursor.lastrowid)
            finally:
                cursor.close()

        try:
            rows, self._cursor = await_(connection._execute(execute_and_fetch))
        except Exception as error:
            self._adapt_connection._handle_exception(error)
        self._rows = collections.deque(rows)
        return self


class _Connection(AsyncAdapt_aiosqlite_connection):
    """A connection that is not visited to end a transaction that never began."""

    __slots__ = ("_begin",)
    _cursor_cls = _Cursor
    _begin: str

    def begin_with(self, words: str) -> None:
        """Begin a transaction with the next statement."""
        self._begin = words

    def take_begin(self) -> str:
        """The words that have to go before the next statement; empty inside a transaction and outside of any."""
        words, self._begin = getattr(self, "_begin", ""), ""
        return words

    def rollback(self) -> None:
        """Roll back, if there is anything to roll back."""
        self._begin = ""
        if self._in_transaction:
            super().rollback()

    def commit(self) -> None:
        """Commit, if there is anything to commit."""
        self._begin = ""
        if self._in_transaction:
            super().commit()

    @property
    def _in_transaction(self) -> bool:
        raw: sqlite3.Connection | None = self._connection._connection
        return raw is not None and raw.in_transaction


class Driver(AsyncAdapt_aiosqlite_dbapi):
    """The stock driver with our connections."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *arg: Any, **kw: Any) -> _Connection:
        """Open a connection as the stock driver does."""
        return _Connection(self, super().connect(*arg, **kw)._connection)


def prepare(engine: Engine) -> None:
    """Make connections durable and strict, and let us begin transactions in the way each needs."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN would be deferred; ours is sent by on_begin.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MILLISECONDS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("cmb_begin", "DEFERRED")
        raw: Any = connection.connection.dbapi_connection
        # Without a mode each statement stands for itself.
        raw.begin_with(f"BEGIN {mode}" if mode else "")
