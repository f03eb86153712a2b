"""Counts that replicas share over a real Redis, and what each allows while it is away."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import structlog
from pydantic import SecretStr

from cmbcluster.errors import TooManyRequests
from cmbcluster.services import rates as rates_module
from cmbcluster.services.rates import Limited, RateService
from cmbcluster.settings import Settings
from cmbcluster.wiring import open_counts
from tests.platform import Platform
from tests.servers.redis import RedisServer, redis_server  # noqa: F401
from tests.services.test_rates import HERE, THERE, count


@pytest.fixture
async def replicas(redis_server: RedisServer) -> AsyncIterator[tuple[RateService, RateService]]:  # noqa: F811
    settings = Settings(sign_ins_per_minute=9, redis_url=SecretStr(redis_server.url), _env_file=None)
    async with AsyncExitStack() as opened:
        stores = [await opened.enter_async_context(open_counts(settings)) for _ in range(2)]
        yield RateService(settings, stores[0]), RateService(settings, stores[1])


async def test_replicas_count_together(replicas: tuple[RateService, RateService], platform: Platform) -> None:
    one, other = replicas
    for each in (one, other, one, other):
        await each.check(HERE, Limited.SIGN_IN)
    assert await count(one, HERE, Limited.SIGN_IN) == 5
    assert await count(other, HERE, Limited.SIGN_IN) == 0
    assert await count(other, THERE, Limited.SIGN_IN) == 9
    elena = await platform.sign_in("elena")
    assert await count(one, elena, Limited.SHARE, 20) == 20
    assert await count(other, elena, Limited.SHARE) == 10


async def test_without_the_store_each_allows_half_and_says_so_once(
    replicas: tuple[RateService, RateService],
    redis_server: RedisServer,  # noqa: F811
) -> None:
    one, other = replicas
    redis_server.kill()
    with structlog.testing.capture_logs() as lines:
        since = time.monotonic()
        assert await count(one, HERE, Limited.SIGN_IN) == 4
        assert await count(one, HERE, Limited.CALLBACK) == 30
        assert await count(other, HERE, Limited.SIGN_IN) == 4
        assert time.monotonic() - since < 2
    away = [line for line in lines if "does not answer" in line["event"]]
    assert len(away) == 2
    assert all("127.0.0.1" in line["error"] for line in away)


async def test_it_comes_back_by_itself(
    replicas: tuple[RateService, RateService],
    redis_server: RedisServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = replicas
    redis_server.kill()
    assert await count(one, HERE, Limited.SIGN_IN) == 4
    monkeypatch.setattr(rates_module, "ASK_AGAIN_SECONDS", 0.0)
    assert await count(other, HERE, Limited.SIGN_IN) == 4
    redis_server.start()
    with structlog.testing.capture_logs() as lines:
        one._ask_at = other._ask_at = 0.0
        assert await count(one, HERE, Limited.SIGN_IN, 5) == 5
        assert await count(other, HERE, Limited.SIGN_IN) == 4
    assert [line["event"] for line in lines if "again" in line["event"]] == [
        "the shared store of counts answers again"
    ] * 2


async def test_a_store_that_holds_still_is_waited_for_once(
    replicas: tuple[RateService, RateService],
    redis_server: RedisServer,  # noqa: F811
) -> None:
    one, _ = replicas
    await one.check(HERE, Limited.SIGN_IN)
    redis_server.freeze()
    since = time.monotonic()
    assert await count(one, HERE, Limited.SIGN_IN) == 4
    assert time.monotonic() - since < 1.5
    redis_server.thaw()


async def test_a_restart_between_two_requests_is_not_noticed(
    replicas: tuple[RateService, RateService],
    redis_server: RedisServer,  # noqa: F811
) -> None:
    one, _ = replicas
    await one.check(HERE, Limited.SIGN_IN)
    redis_server.kill()
    redis_server.start()
    with structlog.testing.capture_logs() as lines:
        await one.check(HERE, Limited.SIGN_IN)
    assert lines == []


async def test_the_least_that_is_allowed_alone_is_one(redis_server: RedisServer) -> None:  # noqa: F811
    settings = Settings(sign_ins_per_minute=1, redis_url=SecretStr(redis_server.url), _env_file=None)
    async with open_counts(settings) as store:
        rates = RateService(settings, store)
        redis_server.kill()
        await rates.check(HERE, Limited.SIGN_IN)
        with pytest.raises(TooManyRequests):
            await rates.check(HERE, Limited.SIGN_IN)
