"""What our driver of SQLite must keep: transactions are whole, alone when they write, and leave nothing open."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from cmbcluster.db.database import Database, Work
from cmbcluster.db.failures import KeyTaken
from cmbcluster.db.models import User


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database in a file."""
    opened = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    await opened.migrate()
    yield opened
    await opened.close()


def _user(subject: str) -> User:
    return User(
        provider="test", subject=subject, email="", name="0", role="user", tier="free", created_at=datetime.now(UTC)
    )


async def _add(database: Database, subject: str) -> UUID:
    async with database.transaction() as work:
        user = _user(subject)
        work.users.add(user)
    return user.id


async def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    await _add(database, "ada")
    with pytest.raises(KeyTaken):
        async with database.transaction() as work:
            work.users.add(_user("elena"))
            await work.flush()
            work.users.add(_user("ada"))
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as work:
            work.users.add(_user("ravi"))
            await work.flush()
            raise ZeroDivisionError
    async with database.transaction():
        pass  # Nothing is asked, so nothing begins, and nothing may be left to begin.
    async with database.reading() as work:
        assert await work.users.by_subject("test", "elena") is None
        assert await work.users.by_subject("test", "ravi") is None
    assert await _add(database, "elena")


async def test_a_reader_sees_one_moment(database: Database) -> None:
    user_id = await _add(database, "ada")
    async with database.reading() as before:
        assert await before.users.by_subject("test", "late") is None
        await _add(database, "late")
        assert await before.users.by_subject("test", "late") is None
        assert await before.users.by_id(user_id) is not None
    async with database.reading() as after:
        assert await after.users.by_subject("test", "late") is not None


async def test_a_writer_keeps_writers_of_other_processes_out(database: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "test.db", timeout=0, isolation_level=None)
    try:
        async with database.transaction() as work:
            work.users.add(_user("ada"))
            await work.flush()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    finally:
        other.close()


async def test_rows_counts_and_errors_are_those_of_sqlite(database: Database) -> None:
    await _add(database, "ada")
    await _add(database, "elena")
    async with database.engine.begin() as connection:
        changed = await connection.execute(text("UPDATE users SET name = 'x'"))
        assert changed.rowcount == 2
        returned = await connection.execute(text("DELETE FROM users RETURNING subject"))
        assert sorted(returned.scalars()) == ["ada", "elena"]
        with pytest.raises(Exception, match="no such table: missing"):
            await connection.execute(text("SELECT * FROM missing"))


async def test_a_glance_begins_no_transaction_and_reading_does(database: Database) -> None:
    user_id = await _add(database, "ada")

    async def named(name: str) -> None:
        async with database.transaction() as work:
            user = await work.users.lock(user_id)
            assert user is not None
            user.name = name

    async def seen_twice(opened: AbstractAsyncContextManager[Work]) -> tuple[str, str]:
        query = select(col(User.name)).where(User.id == user_id)
        async with opened as work:
            before = (await work._session.exec(query)).one()
            await named(before + "!")
            return before, (await work._session.exec(query)).one()

    assert await seen_twice(database.reading()) == ("0", "0")
    assert await seen_twice(database.glance()) == ("0!", "0!!")
