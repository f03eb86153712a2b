"""Keeps an answer that goes on for hours from outliving the sign-in it was given to.

A request is checked when it begins. What is still being sent later must never go on after
the person signed out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar
from uuid import UUID

from cmbcluster.bus.port import Ring
from cmbcluster.domain.actors import Actor
from cmbcluster.errors import TooManyRequests
from cmbcluster.wiring import parts

# Each one that is followed holds a descriptor and a task of the process that everybody shares.
MOST_FOLLOWED = 20
_followed: Counter[UUID] = Counter()
# For a ring that was lost, and for sessions that end by themselves.
ASK_AGAIN_SECONDS = 15.0
FOLLOW_AGAIN_SECONDS = 10

Item = TypeVar("Item")
Lives = Callable[[], Awaitable[bool]]


def check_followed(actor: Actor) -> None:
    """Raise TooManyRequests when the person follows as much at once as anybody may."""
    if _followed[actor.person()] >= MOST_FOLLOWED:
        raise TooManyRequests(FOLLOW_AGAIN_SECONDS)


@contextlib.contextmanager
def followed(actor: Actor) -> Iterator[None]:
    """Count one answer that goes on, while it does."""
    user_id = actor.person()
    _followed[user_id] += 1
    try:
        yield
    finally:
        _followed[user_id] -= 1
        if not _followed[user_id]:
            del _followed[user_id]


async def counted(items: AsyncIterator[Item], actor: Actor) -> AsyncIterator[Item]:
    """``items``, counted as one that is followed."""
    with followed(actor):
        async for item in items:
            yield item


async def while_signed_in(
    items: AsyncIterator[Item], actor: Actor, token: str, ask_again_seconds: float | None = None
) -> AsyncIterator[Item]:
    """``items``, as long as the session of ``token`` lives."""

    async def lives() -> bool:
        # Looking is no activity of the person.
        return await parts().sessions.find(token, touch=False, opened=True) is not None

    async with contextlib.aclosing(
        while_alive(items, f"session:{actor.session_id}", lives, ask_again_seconds)
    ) as alive:
        async for item in alive:
            yield item


async def while_alive(
    items: AsyncIterator[Item], topic: str, lives: Lives, ask_again_seconds: float | None = None
) -> AsyncGenerator[Item, None]:
    """``items``, until a ring of ``topic`` or ``lives`` says that what allowed them has ended."""
    every_seconds = ASK_AGAIN_SECONDS if ask_again_seconds is None else ask_again_seconds
    async with parts().bus.subscribe(topic) as rings:
        ended = asyncio.create_task(_until_ended(lives, rings, every_seconds))
        following: asyncio.Task[tuple[Item, ...]] | None = None
        try:
            while True:
                following = asyncio.create_task(_next(items))
                await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done() or not (found := following.result()):
                    return
                yield found[0]
        finally:
            waiting = [task for task in (following, ended) if task is not None]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def _next(items: AsyncIterator[Item]) -> tuple[Item, ...]:
    """The next item, or nothing at the end."""
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return ()


async def _until_ended(lives: Lives, rings: AsyncIterator[Ring], every_seconds: float) -> None:
    """Return when what allowed the answer has ended."""
    ring = asyncio.ensure_future(anext(rings))
    try:
        # The first look comes after the subscription, so no end falls between the two.
        while await lives():
            done, _ = await asyncio.wait({ring}, timeout=every_seconds)
            if done and ring.result().about:
                return
            if done:
                # Rings may have been missed, which says nothing about this one.
                ring = asyncio.ensure_future(anext(rings))
    finally:
        ring.cancel()
