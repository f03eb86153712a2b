"""The whole of a SQLite database as one comparable value, and putting a database back as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

# Arriving is noted at the actor's own session or token; that is no change of anything anybody owns.
ARRIVING = {"sessions": ("last_seen_at", "serial", "serial_seen", "serial_made_at"), "api_tokens": ("last_used_at",)}
Content = dict[str, list[tuple[object, ...]]]


def content_of(file: Path) -> Content:
    """Every row of every table, without the traces of arriving."""
    content: Content = {}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as reader:
        tables = [name for (name,) in reader.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            columns = [column[1] for column in reader.execute(f'pragma table_info("{table}")')]
            kept = [f'"{column}"' for column in columns if column not in ARRIVING.get(table, ())]
            rows = reader.execute(f'select {", ".join(kept)} from "{table}"')  # noqa: S608 - names of our own
            content[table] = sorted(rows.fetchall(), key=repr)
    return content


def changes(before: Content, after: Content) -> list[str]:
    """What differs, in words."""
    told = []
    for table in sorted(before.keys() | after.keys()):
        old, new = before.get(table, []), after.get(table, [])
        told += [f"{table}: gone or changed {row}" for row in old if row not in new]
        told += [f"{table}: new {row}" for row in new if row not in old]
    return told


def copy_of(file: Path, to: Path) -> None:
    """Copy a database, also one that is open."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
