"""The bus over a real Redis: the contract between two processes' buses, and what an outage does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis

from cmbcluster.bus import redis as bus_module
from cmbcluster.bus.port import Bus, Ring
from cmbcluster.bus.redis import UNSENT_LIMIT, RedisBus, open_connections
from tests.contracts.bus_contract import BusContract, heard, hears_nothing
from tests.servers.redis import RedisServer, eventually, redis_server  # noqa: F401

FRACTION_SECONDS = 0.2


@pytest.fixture
async def bus(redis_server: RedisServer) -> AsyncIterator[RedisBus]:  # noqa: F811
    opened = RedisBus(open_connections(redis_server.url))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def other(redis_server: RedisServer) -> AsyncIterator[RedisBus]:  # noqa: F811
    opened = RedisBus(open_connections(redis_server.url))
    await opened.open()
    yield opened
    await opened.close()


def client(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port)


def channels(server: RedisServer) -> set[bytes]:
    with client(server) as asking:
        found: list[bytes] = asking.pubsub_channels()
        return set(found)


class TestRedisBus(BusContract):
    @pytest.fixture
    def bus(self, bus: RedisBus) -> Bus:
        return bus

    @pytest.fixture
    def other(self, other: RedisBus) -> Bus:
        return other


class TestAlone(BusContract):
    """One process alone hears itself as it would without Redis."""

    @pytest.fixture
    def bus(self, bus: RedisBus) -> Bus:
        return bus

    @pytest.fixture
    def other(self, bus: RedisBus) -> Bus:
        return bus


async def test_nothing_stays_of_those_who_left(bus: RedisBus, redis_server: RedisServer) -> None:  # noqa: F811
    for number in range(1000):
        async with bus.subscribe(f"user:{number}", "gate"):
            pass
    await eventually(lambda: channels(redis_server) == {b"cmb:0:everything"})
    topics = bus._topics
    assert set(topics.all()) == topics._asked == {bus_module.EVERYTHING}
    assert not topics._unanswered
    assert set(topics._heard) == {bus_module.EVERYTHING}
    assert not topics._late
    assert not bus._here._subscribers


async def test_two_connections_a_process_whatever_is_followed(bus: RedisBus, redis_server: RedisServer) -> None:  # noqa: F811
    async with bus.subscribe("a"), bus.subscribe("b"), bus.subscribe("a", "c"):
        await asyncio.gather(*(bus.publish(Ring("a", "x")) for _ in range(50)))
        await eventually(lambda: not bus._unsent)
        with client(redis_server) as asking:
            assert len(asking.client_list()) == 3


async def test_after_an_outage_everybody_looks_again(
    bus: RedisBus,
    other: RedisBus,
    redis_server: RedisServer,  # noqa: F811
) -> None:
    async with bus.subscribe("gate", "user:1") as rings, other.subscribe("user:2") as others:
        redis_server.kill()
        await eventually(lambda: bus._away and other._away)
        async with bus.subscribe("late") as late:
            redis_server.start()
            assert {await heard(rings), await heard(rings)} == {Ring("gate"), Ring("user:1")}
            assert await heard(others) == Ring("user:2")
            assert await heard(late) == Ring("late")
        await other.publish(Ring("gate", "x"))
        assert await heard(rings) == Ring("gate", "x")
        await hears_nothing(rings)


async def test_without_redis_the_process_hears_itself_and_nothing_waits(
    bus: RedisBus,
    redis_server: RedisServer,  # noqa: F811
) -> None:
    async with bus.subscribe("gate") as rings:
        redis_server.kill()
        since = time.monotonic()
        for number in range(100):
            await bus.publish(Ring("gate", str(number)))
            assert await heard(rings) == Ring("gate", str(number))
        assert time.monotonic() - since < FRACTION_SECONDS
        await eventually(lambda: bus._away)
        since = time.monotonic()
        async with bus.subscribe("user:1") as late:
            await bus.publish(Ring("user:1", "x"))
            assert await heard(late) == Ring("user:1", "x")
        assert time.monotonic() - since < FRACTION_SECONDS


async def test_a_redis_that_holds_still_is_left_and_found_again(
    bus: RedisBus,
    redis_server: RedisServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_module, "PING_SECONDS", 0.2)
    async with bus.subscribe("gate") as rings:
        redis_server.freeze()
        since = time.monotonic()
        await bus.publish(Ring("gate", "x"))
        assert await heard(rings) == Ring("gate", "x")
        assert time.monotonic() - since < FRACTION_SECONDS
        await eventually(lambda: bus._away)
        redis_server.thaw()
        assert await heard(rings) == Ring("gate")


async def test_rings_of_an_outage_arrive_after_it(
    bus: RedisBus,
    other: RedisBus,
    redis_server: RedisServer,  # noqa: F811
) -> None:
    redis_server.kill()
    await other.publish(Ring("gate", "x"))
    await eventually(lambda: bus._away and other._away)
    async with bus.subscribe("gate") as rings:
        redis_server.start()
        assert (await heard(rings)).about in ("", "x")
        await eventually(lambda: not other._unsent)


async def test_too_many_rings_of_an_outage_become_one(
    bus: RedisBus,
    other: RedisBus,
    redis_server: RedisServer,  # noqa: F811
) -> None:
    """The other one alone lost its connection, so nobody else knows that something is missing."""
    async with bus.subscribe("gate", "user:1") as rings:
        redis_server.freeze()
        for number in range(UNSENT_LIMIT + 3):
            await other.publish(Ring("user:7", str(number)))
        assert len(other._unsent) < 10
        redis_server.thaw()
        assert {await heard(rings), await heard(rings)} == {Ring("gate"), Ring("user:1")}


async def test_a_process_that_starts_without_redis_finds_it_later(redis_server: RedisServer) -> None:  # noqa: F811
    redis_server.kill()
    early = RedisBus(open_connections(redis_server.url))
    since = time.monotonic()
    await early.open()
    async with early.subscribe("gate") as rings:
        assert time.monotonic() - since < 1
        redis_server.start()
        assert await heard(rings) == Ring("gate")
        await early.publish(Ring("gate", "x"))
        assert await heard(rings) == Ring("gate", "x")
    await early.close()


async def test_what_is_published_last_is_sent_before_leaving(bus: RedisBus, redis_server: RedisServer) -> None:  # noqa: F811
    async with bus.subscribe("sessions") as rings:
        leaving = RedisBus(open_connections(redis_server.url))
        await leaving.open()
        await leaving.publish(Ring("sessions", "x"))
        await leaving.close()
        assert await heard(rings) == Ring("sessions", "x")
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("bus ") and task.done()]


async def test_what_is_no_ring_is_nothing(bus: RedisBus, other: RedisBus, redis_server: RedisServer) -> None:  # noqa: F811
    async with bus.subscribe("gate") as rings:
        with client(redis_server) as rude:
            for words in (b"", b"\xff", b"[]", b"7", b'{"about": 7, "from": "x"}', b'{"about": "x"}', b"null"):
                rude.publish("cmb:0:gate", words)
            rude.publish("cmb:1:gate", b'{"about": "other", "from": "x"}')
        await other.publish(Ring("gate", "real"))
        assert await heard(rings) == Ring("gate", "real")
