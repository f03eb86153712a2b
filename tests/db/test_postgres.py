"""What only PostgreSQL can do to us: connections that end, run out, or never open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import pytest
from sqlalchemy import text

from cmbcluster.database_settings import sqlalchemy_address
from cmbcluster.db import postgres
from cmbcluster.db.database import Database
from cmbcluster.db.failures import Clashed, KeyTaken
from cmbcluster.errors import DatabaseUnavailable
from tests.faults.cutting import CuttingProxy
from tests.postgres import Databases, free_port


@pytest.fixture
async def url(postgres: Databases) -> AsyncIterator[str]:
    """The address of a migrated database, as an operator writes it."""
    made = await postgres.make()
    yield made
    await postgres.drop(made)


async def test_a_pool_without_a_free_connection_says_so_soon(url: str) -> None:
    database = Database(sqlalchemy_address(url), connections_at_once=2, wait_seconds=0.3)
    release = asyncio.Event()

    async def hold() -> None:
        async with database.reading() as work:
            await work.now()
            await release.wait()

    held = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0.5)
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="came free"):
        async with database.reading() as work:
            await work.now()
    assert time.monotonic() - began < 3
    release.set()
    await asyncio.gather(*held)
    async with database.reading() as work:
        await work.now()
    await database.close()


async def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    address = sqlalchemy_address(f"postgresql://cmb:very-secret@127.0.0.1:{free_port()}/cmb")
    database = Database(address, wait_seconds=1.0)
    with pytest.raises(DatabaseUnavailable, match="cannot be reached") as told:
        await database.migrate()
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        async with database.reading() as work:
            await work.now()
    assert "very-secret" not in str(told.value) + repr(database.engine)
    await database.close()


async def test_two_who_wait_for_each_other_clash_and_one_goes_on(url: str) -> None:
    database = Database(sqlalchemy_address(url))
    first_has, second_has = asyncio.Event(), asyncio.Event()

    async def take(mine: str, theirs: str, have: asyncio.Event, other: asyncio.Event) -> str:
        try:
            async with database.transaction() as work:
                await work.take_turn(mine)
                have.set()
                await other.wait()
                await work.take_turn(theirs)
        except Clashed:
            return "clashed"
        return "done"

    answers = await asyncio.gather(take("a", "b", first_has, second_has), take("b", "a", second_has, first_has))
    assert sorted(answers) == ["clashed", "done"]
    await database.close()


async def test_reading_writes_nothing(url: str) -> None:
    database = Database(sqlalchemy_address(url))
    with pytest.raises(Exception, match="read-only"):
        async with database.reading() as work:
            await work.sessions.end_all_of((await _anybody(database)), await work.now())
    async with database.engine.connect() as connection:
        # The connection that read goes on to write: what reading set is taken back.
        await connection.execute(text("DELETE FROM notices"))
    await database.close()


class _Swallowing(CuttingProxy):
    """A way to the server on which, from one moment on, nothing arrives any more, and nothing is closed either."""

    swallows = False

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        ways = [asyncio.create_task(self._pass(*way)) for way in ((reader, their_writer), (their_reader, writer))]
        try:
            await asyncio.gather(*ways)
            await asyncio.Event().wait()
        finally:
            for each in ways:
                each.cancel()
            their_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self.swallows:
                    writer.write(data)


@pytest.mark.parametrize("given_up_by", ["the platform", "whoever asked"])
async def test_a_network_that_swallows_everything_holds_nobody(
    url: str, monkeypatch: pytest.MonkeyPatch, given_up_by: str
) -> None:
    monkeypatch.setattr(postgres, "ANSWER_SECONDS", 1.0)
    way = _Swallowing(url)
    database = Database(sqlalchemy_address(await way.open()), wait_seconds=1.0)
    asked = asyncio.Event()

    async def ask() -> None:
        async with database.reading() as work:
            await work.users.by_id(UUID(int=0))
            way.swallows = True
            asked.set()
            await work.users.by_id(UUID(int=1))

    asking = asyncio.create_task(ask())
    await asked.wait()
    if given_up_by == "whoever asked":
        await asyncio.sleep(0.2)
        asking.cancel()
    # Without end, if the driver waited for the server to give the question up.
    _, late = await asyncio.wait([asking], timeout=10)
    assert not late
    expected = asyncio.CancelledError if given_up_by == "whoever asked" else DatabaseUnavailable
    with pytest.raises(expected):
        asking.result()
    way.swallows = False
    async with database.reading() as work:
        assert await work.users.by_id(UUID(int=0)) is None
    await database.close()
    await way.close()


async def _anybody(database: Database):  # type: ignore[no-untyped-def]
    from tests.db.test_both import _add

    user_id = await _add(database, "ada")
    with pytest.raises(KeyTaken):
        await _add(database, "ada")
    return user_id
