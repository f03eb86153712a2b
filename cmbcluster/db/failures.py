"""What goes wrong in a transaction, and what it means for whoever asked.

There are three answers, not two: it was kept, it was not, and *nobody knows*. The third comes
from a connection that is lost during COMMIT; whoever gets it looks again and never guesses.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from cmbcluster.errors import CMBClusterError, DatabaseUnavailable, Unstorable

logger = structlog.get_logger(__name__)

MOST_RETRIES = 3
RETRY_AFTER_SECONDS = 0.02
# SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOST = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03"})  # The server is going down, or ended us.
_CLASHED = frozenset({"40001", "40P01"})  # Serialisation failure, deadlock.
_BUSY = frozenset({"55P03", "57014"})  # A lock or an answer took too long.
_DATA = "22"  # The class of values that do not fit: too long, too large, a zero byte.
_STALE_PLAN = "cached statement plan is invalid"

TRANSLATED = (DBAPIError, NoConnectionFree, TimeoutError, ConnectionError)

P = ParamSpec("P")
T = TypeVar("T")


class KeyTaken(CMBClusterError):
    """A unique key refused a row: somebody else wrote the same thing at the same moment."""


class Clashed(DatabaseUnavailable):
    """Another transaction was in the way. Nothing was kept, so the same may be tried again."""


class CommitUnknown(DatabaseUnavailable):
    """The connection was lost during COMMIT: the change was kept or it was not, and only the database knows."""


def meaning(failed: Exception, *, committing: bool) -> Exception:
    """The error of ours for what a library raised; what is nobody's but our own mistake stays as it is."""
    if isinstance(failed, IntegrityError):
        return KeyTaken(f"a key refused the row: {type(failed.orig).__name__}")
    if isinstance(failed, NoConnectionFree):
        return DatabaseUnavailable("no connection to the database came free in time")
    if not isinstance(failed, DBAPIError):
        return _lost("the database did not answer in time", committing)
    state = str(getattr(failed.orig, "sqlstate", None) or "")
    closed = "connection is closed" in str(failed.orig)
    if failed.connection_invalidated or closed or state in _LOST or state.startswith("08"):
        return _lost("the connection to the database was lost", committing)
    if state in _CLASHED or _STALE_PLAN in str(failed.orig):
        return Clashed("another transaction was in the way")
    if state in _BUSY or state.startswith("53") or isinstance(failed, OperationalError):
        return DatabaseUnavailable(f"the database did not answer: {type(failed.orig).__name__} {state}".rstrip())
    if state.startswith(_DATA):
        # Ours to find and check before: SQLite would have taken it.
        logger.warning("the database cannot keep a value", sqlstate=state, statement=failed.statement)
        return Unstorable()
    return failed


def retried(act: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Run a whole transaction again when another one was in its way, at most three times.

    Only for functions in which everything before the commit is the database's: what else they
    did would be done twice.
    """

    @functools.wraps(act)
    async def trying(*args: P.args, **more: P.kwargs) -> T:
        for attempt in range(MOST_RETRIES):
            try:
                return await act(*args, **more)
            except Clashed:
                # Two that clashed must not meet again in step.
                await asyncio.sleep(RETRY_AFTER_SECONDS * (2**attempt) * (0.5 + random.random()))  # noqa: S311
        return await act(*args, **more)

    return trying


def _lost(text: str, committing: bool) -> DatabaseUnavailable:
    if committing:
        return CommitUnknown(f"{text} while a change was kept; look whether it was")
    return DatabaseUnavailable(text)
