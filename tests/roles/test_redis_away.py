"""Redis emptied, restarted and stopped while people work at both replicas (F12)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
import redis

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.roles.conftest import Roles
from tests.roles.pairs import HERE, THERE, Pairs
from tests.security.hostile import HYDRATE, Hostile
from tests.servers.redis import RedisServer, redis_server  # noqa: F401 - a fixture

LIMIT = 60
BOTH = (HERE, THERE)
IN, OUT = '"who_rx_state_": "in"', '"who_rx_state_": "out"'
PEOPLE = {"ada": "Ada Lovell", "elena": "Elena Marchetti"}
BACK_SECONDS = 30.0


@dataclass
class Worker:
    """Somebody with a session at each replica, a personal token, and what the API said."""

    name: str
    browsers: tuple[httpx.AsyncClient, httpx.AsyncClient]
    token: str
    environment_id: str
    said: Counter[int]

    async def work(self) -> None:
        """Look at both replicas again and again, as people and programs do."""
        which = HERE
        while True:
            headers = {"Authorization": f"Bearer {self.token}", "Cookie": ""}
            answer = await self.browsers[which].get("/api/v1/environments", headers=headers)
            self.said[answer.status_code] += 1
            assert [each["id"] for each in answer.json()["items"]] == [self.environment_id]
            self.said[(await self.browsers[which].get("/auth/standing")).status_code] += 1
            which = THERE if which == HERE else HERE
            await asyncio.sleep(1.5)


@pytest.fixture
async def pairs(roles: Roles, redis_server: RedisServer, pages: None) -> Pairs:  # noqa: F811
    made = Pairs(roles)
    await made.start(CMB_REDIS_URL=redis_server.url, CMB_API_REQUESTS_PER_MINUTE=str(LIMIT))
    return made


@asynccontextmanager
async def worker(pairs: Pairs, name: str) -> AsyncIterator[Worker]:
    async with pairs.browser(HERE, name) as here, pairs.browser(THERE, name) as there:
        token = await pairs.token(here)
        environment = await pairs.running(here, token)
        yield Worker(name, (here, there), token, environment["id"], Counter())


def page(pairs: Pairs, which: int, cookie: str) -> str:
    """What a tab that is opened now says of its person."""
    with pairs.tab(which, cookie, str(uuid4())) as tab:
        return said_in(tab)


def said_in(tab: Hostile) -> str:
    """What a tab says of its person when it is loaded now."""
    tab.forget()
    tab.send(HYDRATE, path="/environments")
    return tab.listen(quiet_seconds=1.0)


async def pages_are_theirs(pairs: Pairs, *workers: Worker) -> None:
    """Within a while every page shows its own person, and nobody else ever."""
    end = time.monotonic() + BACK_SECONDS
    for each in workers:
        for which in BOTH:
            while True:
                try:
                    said = await asyncio.to_thread(page, pairs, which, each.browsers[which].cookies[SESSION_COOKIE])
                except Exception:  # a socket that is not taken yet, in the many words of its client
                    said = ""
                others = [shown for name, shown in PEOPLE.items() if name != each.name]
                assert not any(other in said for other in others), said
                assert OUT not in said, "somebody was signed out"
                if IN in said:
                    break
                assert time.monotonic() < end, said
                await asyncio.sleep(0.5)


async def nobody_gains(pairs: Pairs, ended: str, one: Worker, other: Worker) -> None:
    """A session that ended stays so, and what is somebody else's stays theirs."""
    for which in BOTH:
        async with pairs.browser(which) as anybody:
            cookie = {"Cookie": f"{SESSION_COOKIE}={ended}"}
            body = {"name": "t", "scopes": ["read"], "days": 7}
            assert (await anybody.post("/api/tokens", json=body, headers=cookie)).status_code == 401
            assert (await anybody.get("/api/v1/environments")).status_code == 401
            headers = {"Authorization": f"Bearer {one.token}"}
            theirs = await anybody.get(f"/api/v1/environments/{other.environment_id}", headers=headers)
            assert theirs.status_code == 404


async def allowed(pairs: Pairs, token: str, which: int) -> int:
    """How many requests one replica lets somebody make before it refuses."""
    async with pairs.browser(which) as anybody:
        for number in range(LIMIT + 1):
            answer = await anybody.get("/api/v1/environments", headers={"Authorization": f"Bearer {token}"})
            if answer.status_code == 429:
                return number
            assert answer.status_code == 200, answer.text
    return LIMIT + 1


async def end(*tasks: asyncio.Task[None]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.wait(tasks)


async def test_f12_redis_emptied_restarted_and_stopped_while_people_work(
    pairs: Pairs,
    redis_server: RedisServer,  # noqa: F811
) -> None:
    async with AsyncExitStack() as stack:
        ada, elena = [await stack.enter_async_context(worker(pairs, name)) for name in PEOPLE]
        ravi = await stack.enter_async_context(pairs.browser(THERE, "ravi"))
        token, ended = await pairs.token(ravi), ravi.cookies[SESSION_COOKIE]
        assert (await ravi.post("/auth/sign-out")).status_code == 303
        working = [asyncio.create_task(each.work()) for each in (ada, elena)]
        stack.push_async_callback(end, *working)
        await pages_are_theirs(pairs, ada, elena)
        tab = stack.enter_context(pairs.tab(THERE, ada.browsers[THERE].cookies[SESSION_COOKIE], str(uuid4())))
        assert IN in await asyncio.to_thread(said_in, tab)

        with redis.Redis(port=redis_server.port) as asking:
            assert asking.dbsize()
            asking.flushall()
        # Tabs whose states are gone go on with new ones, and those that are opened now begin as ever.
        assert IN in await asyncio.to_thread(said_in, tab)
        await pages_are_theirs(pairs, ada, elena)
        await nobody_gains(pairs, ended, ada, elena)

        redis_server.kill()
        redis_server.start()
        await pages_are_theirs(pairs, ada, elena)
        await nobody_gains(pairs, ended, ada, elena)

        redis_server.kill()
        await nobody_gains(pairs, ended, ada, elena)
        # Each counts alone and allows half.
        assert [await allowed(pairs, token, which) for which in BOTH] == [LIMIT // 2, LIMIT // 2]
        redis_server.start()
        await pages_are_theirs(pairs, ada, elena)
        await nobody_gains(pairs, ended, ada, elena)

        for each in working:
            assert not each.done(), each.exception()
        print(f"answers {dict(ada.said + elena.said)}")
        assert set(ada.said + elena.said) == {200}
