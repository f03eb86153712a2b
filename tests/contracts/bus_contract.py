"""What every bus must do: the promises of ``bus/port.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cmbcluster.bus.port import Bus, Ring

HEARD_WITHIN_SECONDS = 5.0
NOTHING_WITHIN_SECONDS = 0.1


async def heard(rings: AsyncIterator[Ring]) -> Ring:
    """The next ring."""
    async with asyncio.timeout(HEARD_WITHIN_SECONDS):
        return await anext(rings)


async def hears_nothing(rings: AsyncIterator[Ring]) -> None:
    """No ring comes. The iterator is of no use after this."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(NOTHING_WITHIN_SECONDS):
            ring = await anext(rings)
            raise AssertionError(f"heard {ring}")


class BusContract:
    """Subclasses give ``bus``, which hears, and ``other``, which publishes: the same one or another process's."""

    @pytest.fixture
    def bus(self) -> Bus:
        """An open bus."""
        raise AssertionError("subclasses give it")

    @pytest.fixture
    def other(self) -> Bus:
        """An open bus joined with it."""
        raise AssertionError("subclasses give it")

    async def test_a_ring_reaches_each_subscriber_once(self, bus: Bus, other: Bus) -> None:
        async with bus.subscribe("user:1") as first, bus.subscribe("user:1", "gate") as second:
            for publisher in (other, bus):
                await publisher.publish(Ring("user:1", "profile"))
                assert await heard(first) == await heard(second) == Ring("user:1", "profile")
            await hears_nothing(first)
            await hears_nothing(second)

    async def test_only_its_topics(self, bus: Bus, other: Bus) -> None:
        async with bus.subscribe("user:1", "session:1") as rings:
            for topic in ("user:2", "user:1", "user:11", "session:1"):
                await other.publish(Ring(topic, "x"))
            assert await heard(rings) == Ring("user:1", "x")
            assert await heard(rings) == Ring("session:1", "x")
            await hears_nothing(rings)

    async def test_in_the_order_they_were_published(self, bus: Bus, other: Bus) -> None:
        async with bus.subscribe("gate") as rings:
            for number in range(50):
                await other.publish(Ring("gate", str(number)))
            assert [(await heard(rings)).about for _ in range(50)] == [str(number) for number in range(50)]

    async def test_words_come_as_they_were_said(self, bus: Bus, other: Bus) -> None:
        words = 'é "quoted" \\ \n line, {"about": 1}'
        async with bus.subscribe("tópic: *?[a]") as rings:
            await other.publish(Ring("tópic: *?[a]", words))
            await other.publish(Ring("tópic: *?[a]"))
            assert await heard(rings) == Ring("tópic: *?[a]", words)
            assert await heard(rings) == Ring("tópic: *?[a]", "")

    async def test_a_slow_subscriber_loses_the_oldest(self, bus: Bus, other: Bus) -> None:
        async with bus.subscribe("busy") as slow, bus.subscribe("busy", "done") as watching:
            for number in range(250):
                await other.publish(Ring("busy", str(number)))
            await other.publish(Ring("done", "x"))
            while (await heard(watching)).topic != "done":
                pass
            abouts = [int((await heard(slow)).about) for _ in range(100)]
            assert abouts == list(range(150, 250))

    async def test_many_topics(self, bus: Bus, other: Bus) -> None:
        topics = [f"user:{number}" for number in range(2000)]
        async with bus.subscribe(*topics) as rings:
            for topic in (topics[0], topics[1000], topics[-1]):
                await other.publish(Ring(topic, "x"))
                while not (ring := await heard(rings)).about:
                    pass  # Asking for so many may take longer than subscribing waits.
                assert ring.topic == topic

    async def test_leaving_while_others_stay_and_coming_back(self, bus: Bus, other: Bus) -> None:
        async with bus.subscribe("gate") as stays:
            for number in range(20):
                async with bus.subscribe("gate") as comes:
                    await other.publish(Ring("gate", str(number)))
                    assert (await heard(comes)).about == str(number)
            assert [(await heard(stays)).about for _ in range(20)] == [str(number) for number in range(20)]
        for number in range(20):
            async with bus.subscribe("gate") as comes:
                await other.publish(Ring("gate", str(number)))
                assert (await heard(comes)).about == str(number)

    async def test_nobody_need_listen(self, bus: Bus) -> None:
        for _ in range(300):
            await bus.publish(Ring("nobody", "x"))
