"""The whole platform over a real Redis: pages keep their states there, and an outage signs nobody out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.e2e.conftest import Started, free_port, start_platform, stop_platform
from tests.security.hostile import HYDRATE, cookie_of, hostile
from tests.servers.redis import RedisServer, redis_server  # noqa: F401

STATE = "reflex___state____state"
WATCH = f"{STATE}.cmbcluster___web___pages___environments____environments_state.watch"
IN = '"who_rx_state_": "in"'


@pytest.fixture
def up(redis_server: RedisServer) -> Iterator[Started]:  # noqa: F811
    with tempfile.TemporaryDirectory(prefix="cmb-redis-") as folder:
        data = Path(folder)
        data.chmod(0o755)
        running = start_platform(data, free_port(), CMB_REDIS_URL=redis_server.url)
        yield running
        if running.process.poll() is None:
            stop_platform(running)


def look(up: Started, cookie: str) -> None:
    """A page is opened, filled, and kept true."""
    with hostile(up.url, cookie) as tab:
        tab.send(HYDRATE, path="/environments")
        tab.until(IN, 15)
        tab.send(WATCH, path="/environments")
        tab.until("Elena", 15)


def test_pages_live_in_redis_and_an_outage_signs_nobody_out(up: Started, redis_server: RedisServer) -> None:  # noqa: F811
    cookie = cookie_of(up.url, "elena")
    look(up, cookie)
    with redis.Redis(port=redis_server.port) as asking:
        names = [key.decode() for key in asking.keys("*")]
        assert any(STATE in name for name in names), names
        assert any(name.startswith("cmb:counts") for name in names), names
        assert asking.pubsub_numsub("cmb:0:sessions")[0][1] == 1
    redis_server.kill()
    standing = httpx.get(f"{up.url}/auth/standing", cookies={SESSION_COOKIE: cookie})
    assert standing.status_code == 200
    assert httpx.get(f"{up.url}/").status_code == 200
    cookie_of(up.url, "ada")
    redis_server.start()
    until = time.monotonic() + 20
    while True:
        try:
            look(up, cookie)
            break
        except Exception:
            assert time.monotonic() < until, up.said()[-4000:]
            time.sleep(0.5)
    said = stop_platform(up)
    assert "Stopped. Nothing is running any more." in said
    assert said.count("the shared store of counts does not answer") == 1
    assert "Task was destroyed" not in said
