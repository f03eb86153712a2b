"""The migrations are the schema: models and migrations agree, and each has a way back."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import alembic.autogenerate
import alembic.command
import alembic.config
import alembic.migration
import pytest
from sqlalchemy import Connection, TextClause, Uuid, bindparam, inspect, text
from sqlmodel import SQLModel

from cmbcluster.database_settings import sqlalchemy_address
from cmbcluster.db.columns import UtcDateTime
from cmbcluster.db.database import MIGRATIONS, Database
from tests.postgres import Databases


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without a table."""
    if request.param == "sqlite":
        opened = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
        yield opened
        await opened.close()
        return
    postgres: Databases = request.getfixturevalue("postgres")
    url = await postgres.make_empty()
    opened = Database(sqlalchemy_address(url))
    yield opened
    await opened.close()
    await postgres.drop(url)


async def test_models_and_migrations_agree(database: Database) -> None:
    await database.migrate()

    def differences(connection: Connection) -> list[object]:
        context = alembic.migration.MigrationContext.configure(connection, opts={"compare_type": True})
        return list(alembic.autogenerate.compare_metadata(context, SQLModel.metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_downgrade_leaves_nothing(database: Database) -> None:
    await database.migrate()

    def down(connection: Connection) -> list[str]:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "base")
        return inspect(connection).get_table_names()

    async with database.engine.begin() as connection:
        assert await connection.run_sync(down) == ["alembic_version"]
    await database.migrate()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_sqlite_is_prepared(database: Database) -> None:
    async with database.engine.connect() as connection:
        answers = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]
    assert answers == ["wal", 1, 10_000]


PERSON_OF_0001 = (
    "INSERT INTO users (id, provider, subject, email, name, role, tier, created_at) "
    "VALUES (:key, 'development', :subject, 'a@example.org', 'A', :role, 'free', :at)"
)
# Others refer to people: a migration that makes the table anew would lose them, or fail.
SESSION_OF_0001 = (
    "INSERT INTO sessions (id, user_id, token_prefix, token_sha256, created_at, last_seen_at, expires_at, browser, "
    "address) VALUES (:key, :key, 'x', CAST(:key AS VARCHAR), :at, :at, :at, '', '')"
)
CODE_OF_0001 = (
    "INSERT INTO gate_codes VALUES ('c', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee', "
    "'2026-11-01', NULL)"
)


def _typed(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("key", type_=Uuid()), bindparam("at", type_=UtcDateTime()))


async def _plant_code(database: Database) -> None:
    """A code whose environment does not matter here, and does not exist."""
    if database.engine.dialect.name == "sqlite":
        # Foreign keys are each connection's own matter.
        with contextlib.closing(sqlite3.connect(str(database.engine.url.database))) as beside, beside:
            beside.execute(CODE_OF_0001)
        return
    async with database.engine.begin() as connection:
        for act in ("ALTER TABLE gate_codes DISABLE TRIGGER ALL", CODE_OF_0001):
            await connection.execute(text(act))
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE gate_codes ENABLE TRIGGER ALL"))


async def test_people_of_before_keep_their_identity_and_what_they_may(database: Database) -> None:
    await _migrate(database, "0001")
    async with database.engine.begin() as connection:
        for key, subject, role in (("a" * 32, "ada", "user"), ("b" * 32, "ravi", "admin")):
            about = {"key": UUID(key), "at": datetime(2026, 11, 1, tzinfo=UTC)}
            await connection.execute(_typed(PERSON_OF_0001), {**about, "subject": subject, "role": role})
            await connection.execute(_typed(SESSION_OF_0001), about)
    await _plant_code(database)
    await _migrate(database, "0003")
    async with database.reading() as work:
        ada = await work.identities.person("development", "ada")
        ravi = await work.identities.person("development", "ravi")
    assert ada is not None
    assert ravi is not None
    assert (ada[1].name, ada[1].email_verified, ada[1].role_granted) == ("A", True, False)
    assert (ravi[1].email_verified, ravi[1].role_granted) == (True, True)
    await _migrate(database, "0001", down=True)
    async with database.engine.connect() as connection:
        kept = (await connection.exec_driver_sql("SELECT subject, role FROM users ORDER BY subject")).all()
    assert [tuple(row) for row in kept] == [("ada", "user"), ("ravi", "admin")]


async def _migrate(database: Database, revision: str, *, down: bool = False) -> None:
    def run(connection: Connection) -> None:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        (alembic.command.downgrade if down else alembic.command.upgrade)(config, revision)

    async with database.engine.begin() as connection:
        await connection.run_sync(run)


async def test_replicas_that_start_at_once_migrate_one_after_the_other(postgres: Databases) -> None:
    url = await postgres.make_empty()
    replicas = [Database(sqlalchemy_address(url)) for _ in range(4)]
    await asyncio.gather(*(replica.migrate() for replica in replicas))
    for replica in replicas:
        async with replica.reading() as work:
            assert await work.users.admins() == 0
        await replica.close()
    await postgres.drop(url)
