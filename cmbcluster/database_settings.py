"""What operators write for the database, and what SQLAlchemy wants to read.

This module must never import another of ours, nor open a connection.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

POSTGRESQL = "postgresql+asyncpg"
SQLITE = "sqlite+aiosqlite"
# Words of other drivers that ours would send to the server, which refuses them. How long to wait is a setting of
# ours; the others ask for what our driver does by itself or cannot do.
_LEFT_OUT = frozenset({"connect_timeout", "channel_binding", "gssencmode", "keepalives", "keepalives_idle"})


def sqlalchemy_address(url: str) -> str:
    """The address for SQLAlchemy's asyncio engines; ValueError with a sentence for what we cannot use."""
    scheme, _, rest = url.partition("://")
    # What a program for another driver wrote is meant for the same database.
    driver = {"postgresql": POSTGRESQL, "postgres": POSTGRESQL, "sqlite": SQLITE}.get(scheme.lower().partition("+")[0])
    if driver is None or not rest:
        # The address itself is not repeated: a password is in it.
        raise ValueError(
            "This database is not supported. Write postgresql://user:password@host/database, or leave it empty for "
            "SQLite in the data folder."
        )
    if driver == SQLITE:
        return f"{driver}://{rest}"
    parts = urlsplit(f"postgresql://{rest}")
    if not parts.path.strip("/"):
        raise ValueError(
            "The name of the database is missing. Write it after the host: postgresql://user:password@host/database."
        )
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in _LEFT_OUT]
    return urlunsplit(parts._replace(scheme=driver, query=urlencode(kept)))


def is_postgresql(address: str) -> bool:
    """Whether an address for SQLAlchemy leads to PostgreSQL."""
    return address.startswith(f"{POSTGRESQL}://")
