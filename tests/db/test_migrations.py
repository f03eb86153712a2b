"""The migrations are the schema: models and migrations agree, and each has a way back."""

from __future__ import annotations

from pathlib import Path

import alembic.autogenerate
import alembic.command
import alembic.config
import alembic.migration
import pytest
from sqlalchemy import Connection, inspect
from sqlmodel import SQLModel

from cmbcluster.db.database import MIGRATIONS, Database


@pytest.fixture
async def database(tmp_path: Path):
    opened = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    yield opened
    await opened.close()


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


async def test_sqlite_is_prepared(database: Database) -> None:
    async with database.engine.connect() as connection:
        answers = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        ]
    assert answers == ["wal", 1, 10_000]
