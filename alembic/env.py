"""Runs migrations on the connection that ``cmbcluster.db.database`` hands over.

There is no other way to the schema. SQLite cannot alter most things in place, hence the
batch mode, which PostgreSQL ignores.
"""

from __future__ import annotations

from sqlmodel import SQLModel

import cmbcluster.db.models  # noqa: F401 - registers the tables
from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
