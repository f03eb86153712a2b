"""The bus of several processes: rings go through Redis to every other one, and stay here without it.

Subscribers of the same process hear a ring even while Redis is away. Whoever may have missed
one, because the connection was lost or a subscription came late, hears a ring about nothing in
particular as soon as there is a connection again. Publishing must never wait for Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Ring

logger = structlog.get_logger(__name__)

ANSWER_SECONDS = 0.5  # how long Redis may take for anything
PING_SECONDS = 10.0  # a connection that is silent for so long is asked whether it lives
FIRST_AGAIN_SECONDS = 0.1
LONGEST_AGAIN_SECONDS = 5.0
UNSENT_LIMIT = 1000
EVERYTHING = "everything"  # the topic that each process hears: rings of any topic may have been lost


def open_connections(url: str, *, again: int = 0) -> ConnectionPool:
    """Connections that give up soon: whoever waits for them has something better to do without Redis.

    ``again``: how often a request whose connection turns out to be closed is made over a new one.
    """
    return ConnectionPool.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        socket_keepalive=True,
        # Its usual retries would take seconds, also of one that does not answer in time.
        retry=Retry(NoBackoff(), again, supported_errors=(RedisConnectionError,)),
    )


class RedisBus:
    """A bus in memory, joined with those of other processes. ``open`` and ``close`` once each."""

    def __init__(self, connections: ConnectionPool) -> None:
        self._connections = connections
        self._redis = Redis(connection_pool=connections)
        # Publications ignore the number of the database, and what lies in another one is not ours.
        self._prefix = f"cmb:{connections.connection_kwargs.get('db') or 0}:"
        self._origin = secrets.token_hex(8)
        self._here = MemoryBus()
        self._topics = _Topics()
        self._unsent: deque[Ring] = deque()
        self._to_send, self._all_sent = asyncio.Event(), asyncio.Event()
        self._all_sent.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._away = False

    async def open(self) -> None:
        """Begin to hear and to send; Redis may still be away."""
        self._topics.add(EVERYTHING)
        self._tasks = [
            asyncio.create_task(self._hear_for_ever(), name="bus listener"),
            asyncio.create_task(self._send_for_ever(), name="bus sender"),
        ]

    async def close(self) -> None:
        """Send what is still here, if that can be done at once, and leave."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._all_sent.wait()
        await _end(self._tasks, again_seconds=1)
        self._tasks = []
        await self._connections.disconnect()

    async def publish(self, ring: Ring) -> None:
        """Tell subscribers of this process now, and all others soon."""
        await self._here.publish(ring)
        if len(self._unsent) >= UNSENT_LIMIT:
            # One ring says what the lost ones said: look again at everything.
            self._unsent.clear()
            ring = Ring(EVERYTHING)
        self._unsent.append(ring)
        self._all_sent.clear()
        self._to_send.set()

    @asynccontextmanager
    async def subscribe(self, *topics: str) -> AsyncIterator[AsyncIterator[Ring]]:
        """Rings of the topics from now on; waits for Redis a moment, and goes on without it."""
        async with self._here.subscribe(*topics) as rings:
            for topic in topics:
                self._topics.add(topic)
            try:
                await self._topics.heard(topics, 0 if self._away else ANSWER_SECONDS)
                yield rings
            finally:
                for topic in topics:
                    self._topics.remove(topic)

    # ---- sending ----

    async def _send_for_ever(self) -> None:
        again_seconds = FIRST_AGAIN_SECONDS
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._unsent:
                ring = self._unsent[0]
                words = json.dumps({"from": self._origin, "about": ring.about})
                try:
                    await self._redis.publish(self._prefix + ring.topic, words)
                except (RedisError, OSError) as failed:
                    self._note_away(failed)
                    await asyncio.sleep(_jittered(again_seconds))
                    again_seconds = min(again_seconds * 2, LONGEST_AGAIN_SECONDS)
                    continue
                again_seconds = FIRST_AGAIN_SECONDS
                self._note_back()
                # It may have given way to a ring about everything meanwhile.
                if self._unsent and self._unsent[0] is ring:
                    self._unsent.popleft()
            self._all_sent.set()

    # ---- hearing ----

    async def _hear_for_ever(self) -> None:
        again_seconds = FIRST_AGAIN_SECONDS
        while True:
            since = asyncio.get_running_loop().time()
            try:
                await self._hear()
            except (RedisError, OSError) as failed:
                self._note_away(failed)
            self._topics.lost()
            if asyncio.get_running_loop().time() - since > LONGEST_AGAIN_SECONDS:
                again_seconds = FIRST_AGAIN_SECONDS
            await asyncio.sleep(_jittered(again_seconds))
            again_seconds = min(again_seconds * 2, LONGEST_AGAIN_SECONDS)

    async def _hear(self) -> None:
        """Hear over one connection until it is lost, which raises."""
        pubsub = self._redis.pubsub()
        try:
            await pubsub.connect()  # type: ignore[no-untyped-call]
            asking = asyncio.create_task(self._ask_for_topics(pubsub), name="bus topics")
            reading = asyncio.create_task(self._read(pubsub), name="bus reader")
            try:
                done, _ = await asyncio.wait({asking, reading}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                await _end([asking, reading], again_seconds=0.1)
        finally:
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _ask_for_topics(self, pubsub: PubSub) -> None:
        """Keep what Redis sends us to what somebody here waits for."""
        while True:
            new, old = self._topics.changes()
            if new:
                await pubsub.subscribe(*(self._prefix + topic for topic in new))
            if old:
                await pubsub.unsubscribe(*(self._prefix + topic for topic in old))
            await self._topics.changed.wait()
            self._topics.changed.clear()

    async def _read(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=PING_SECONDS)
            if message is None:
                if asked:
                    raise ConnectionError("Redis has not said anything for too long")
                asked = True
                await pubsub.ping()
                continue
            asked = False
            await self._take(message)

    async def _take(self, message: dict[str, Any]) -> None:
        self._note_back()
        if message["type"] == "pong":
            return
        topic = message["channel"].decode("utf-8", "replace").removeprefix(self._prefix)
        if message["type"] == "subscribe":
            if self._topics.confirmed(topic) and topic != EVERYTHING:
                await self._here.publish(Ring(topic))
        elif message["type"] == "message":
            about = self._about(message["data"])
            if about is None:
                return
            for each in self._topics.all() if topic == EVERYTHING else (topic,):
                await self._here.publish(Ring(each, about))

    def _about(self, words: bytes) -> str | None:
        """What a ring of another process is about; None for our own, and for what is no ring."""
        try:
            said = json.loads(words)
            about, origin = said["about"], said["from"]
        except (ValueError, TypeError, KeyError):
            return None
        return about if isinstance(about, str) and origin != self._origin else None

    def _note_away(self, failed: Exception) -> None:
        if not self._away:
            self._away = True
            logger.warning("Redis does not answer; other replicas hear of changes when it is back", error=str(failed))

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            logger.info("Redis answers again")


class _Topics:
    """Who waits for what here, and what Redis was asked for on the present connection."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._waiting: Counter[str] = Counter()
        self._asked: set[str] = set()
        # A topic may be left and asked for again before the first answer has come.
        self._unanswered: Counter[str] = Counter()
        self._heard: dict[str, asyncio.Event] = {}
        self._late: set[str] = set()

    def all(self) -> tuple[str, ...]:
        """Every topic that somebody waits for."""
        return tuple(self._waiting)

    def add(self, topic: str) -> None:
        """One more waits for it."""
        self._waiting[topic] += 1
        if self._waiting[topic] == 1:
            heard = self._heard[topic] = asyncio.Event()
            if topic in self._asked and topic not in self._unanswered:
                # It was left so shortly ago that Redis still sends it.
                heard.set()
            self.changed.set()

    def remove(self, topic: str) -> None:
        """One less waits for it."""
        self._waiting[topic] -= 1
        if not self._waiting[topic]:
            del self._waiting[topic], self._heard[topic]
            self._late.discard(topic)
            self.changed.set()

    async def heard(self, topics: tuple[str, ...], within_seconds: float) -> None:
        """Wait until Redis sends them; for those that take too long, somebody may miss a ring."""
        waiting = [self._heard[topic].wait() for topic in topics if not self._heard[topic].is_set()]
        try:
            async with asyncio.timeout(within_seconds):
                await asyncio.gather(*waiting)
        except TimeoutError:
            self._late.update(topic for topic in topics if not self._heard[topic].is_set())

    def changes(self) -> tuple[list[str], list[str]]:
        """What to ask for and what to leave; they count as asked from now on."""
        new = [topic for topic in self._waiting if topic not in self._asked]
        old = [topic for topic in self._asked if topic not in self._waiting]
        self._asked.update(new)
        self._asked.difference_update(old)
        self._unanswered.update(new)
        return new, old

    def confirmed(self, topic: str) -> bool:
        """Redis sends it from now on. Says whether a ring may have been missed until now."""
        self._unanswered[topic] -= 1
        if self._unanswered[topic] > 0:
            return False
        del self._unanswered[topic]
        if topic in self._heard:
            self._heard[topic].set()
        late = topic in self._late
        self._late.discard(topic)
        return late

    def lost(self) -> None:
        """The connection is gone: nothing is heard until it is asked for again."""
        self._asked.clear()
        self._unanswered.clear()
        self._late.update(self._waiting)
        for each in self._heard.values():
            each.clear()


async def _end(tasks: list[asyncio.Task[None]], again_seconds: float) -> None:
    """Cancel tasks until they have ended: Python 3.11 loses a cancellation that meets the end of a timed wait."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_seconds)
    await asyncio.gather(*tasks, return_exceptions=True)


def _jittered(seconds: float) -> float:
    """Replicas that lost the same Redis must not come back together."""
    return seconds * (0.5 + random.random())  # noqa: S311
