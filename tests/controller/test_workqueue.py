"""The queue: once each, never two workers on one key, nothing lost."""

from __future__ import annotations

import asyncio

import pytest

from cmbcluster.controller.workqueue import LONGEST_DELAY_SECONDS, WorkQueue


async def test_a_key_added_twice_is_taken_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.take() == "a"
    queue.done("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), 0.02)


async def test_a_key_added_while_busy_comes_again_after_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.take() == "a"
    queue.add("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), 0.02)
    queue.done("a")
    assert await asyncio.wait_for(queue.take(), 0.1) == "a"


async def test_the_earliest_wish_stands() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("late", 60)
    queue.add("late", 0.01)
    queue.add("late", 30)
    assert await asyncio.wait_for(queue.take(), 1) == "late"
    assert len(queue) == 0


async def test_a_waiting_worker_wakes_for_an_earlier_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("late", 60)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0.01)
    queue.add("now")
    assert await asyncio.wait_for(waiting, 0.1) == "now"


async def test_failures_wait_longer_and_are_forgotten() -> None:
    queue: WorkQueue[str] = WorkQueue(chance=lambda: 1.0)
    delays = [queue.retry("a") for _ in range(12)]
    assert delays[0] < delays[1] < delays[2]
    assert delays[-1] == LONGEST_DELAY_SECONDS
    queue.succeeded("a")
    assert queue.retry("a") == delays[0]


async def test_many_workers_never_share_a_key() -> None:
    queue: WorkQueue[int] = WorkQueue()
    busy: set[int] = set()
    done: dict[int, int] = dict.fromkeys(range(10), 0)

    async def work() -> None:
        while True:
            key = await queue.take()
            assert key not in busy
            busy.add(key)
            await asyncio.sleep(0.001)
            busy.discard(key)
            done[key] += 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(5)]
    for _ in range(20):
        for key in range(10):
            queue.add(key)
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.1)
    assert all(not worker.done() for worker in workers)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert min(done.values()) >= 2
