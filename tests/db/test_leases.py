"""Leases: one holder at a time, each change of hands counted, and over when nobody renews."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from cmbcluster.controller.lease import RENEWALS_IN_A_LEASE, Lease
from cmbcluster.db.database import Database


async def test_one_of_many_takes_it_and_the_next_one_after_its_end(migrated: Database) -> None:
    async def take(holder: str, after_seconds: float = 0.0) -> int | None:
        async with migrated.transaction() as work:
            now = await work.now() + timedelta(seconds=after_seconds)
            return await work.leases.take("controller", holder, now, now + timedelta(seconds=15))

    taken = await asyncio.gather(*(take(f"h{number}") for number in range(6)))
    assert sorted(epoch for epoch in taken if epoch is not None) == [1]
    assert await take("late") is None
    assert await take("late", 16) == 2
    async with migrated.transaction() as work:
        now = await work.now()
        first = f"h{taken.index(1)}"
        assert not await work.leases.renew("controller", first, 1, now)
        assert not await work.leases.renew("controller", "late", 1, now)
        assert await work.leases.renew("controller", "late", 2, now)


async def test_who_waits_begins_when_the_holder_releases_it(migrated: Database) -> None:
    here, there = (Lease(migrated, "controller", 30.0) for _ in range(2))
    began: list[str] = []

    def noting(word: str):  # type: ignore[no-untyped-def]
        async def act() -> None:
            began.append(word)

        return act

    await here._ask()
    assert here.held
    await here.release()
    assert not here.held
    keeping = asyncio.create_task(there.keep(noting("begin"), noting("end")))
    async with asyncio.timeout(10):
        while not began:
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert (began, there.held, there.epoch) == (["begin"], True, 2)
    await there.release()


async def test_who_loses_it_stops_working(migrated: Database) -> None:
    here = Lease(migrated, "controller", 0.6)
    acts: list[str] = []

    async def begin() -> None:
        acts.append("begin")

    async def end() -> None:
        acts.append("end")

    keeping = asyncio.create_task(here.keep(begin, end))
    async with asyncio.timeout(20):
        while acts != ["begin"]:
            await asyncio.sleep(0.01)
        async with migrated.transaction() as work:
            now = await work.now() + timedelta(seconds=60)
            assert await work.leases.take("controller", "other", now, now + timedelta(seconds=600)) is not None
        while acts != ["begin", "end"]:
            await asyncio.sleep(0.01)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert not here.held


async def test_who_meets_a_mistake_asks_again(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller whose waiting had ended would look ready for ever, and never take over."""
    here = Lease(migrated, "controller", 0.3)
    transaction, acts, mistakes = migrated.transaction, [], 2

    def mistaken():  # type: ignore[no-untyped-def]
        nonlocal mistakes
        mistakes -= 1
        if mistakes >= 0:
            raise RuntimeError("column leases.epoch does not exist")
        return transaction()

    async def begin() -> None:
        acts.append("begin")
        if acts == ["begin"]:
            raise RuntimeError("not this time")

    async def end() -> None:
        acts.append("end")

    monkeypatch.setattr(migrated, "transaction", mistaken)
    keeping = asyncio.create_task(here.keep(begin, end))
    async with asyncio.timeout(20):
        while acts != ["begin", "end", "begin"]:
            assert not keeping.done()
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await here.release()


async def test_who_lost_it_to_a_database_that_is_away_asks_as_seldom_as_those_who_wait(migrated: Database) -> None:
    here = Lease(migrated, "controller", 30.0)
    here.epoch, here._until = 1, time.monotonic() + 2.0
    assert here._wait_seconds() <= 2.0
    here._until = time.monotonic() - 1.0
    assert not here.held
    assert here._wait_seconds() >= 0.8 * 30.0 / RENEWALS_IN_A_LEASE
