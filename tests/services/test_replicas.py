"""What ends on one replica is over on every other one within two seconds, also when no ring reaches it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.domain.gate import Verdict
from cmbcluster.services.access import AccessService
from cmbcluster.services.api_tokens import ApiTokenService
from cmbcluster.services.sessions import SessionService
from cmbcluster.settings import Settings
from tests.platform import KEYRING, Platform
from tests.services.test_accounts import pass_of, token_of

IN_FORCE_SECONDS = 2.0
# A look of its own at the database, on a machine that has other things to do.
SLACK_SECONDS = 0.5


class Replica:
    """The services of another process over the same database, with the usual settings and a bus that tells nothing."""

    def __init__(self, platform: Platform) -> None:
        here, deaf = platform.parts, MemoryBus()
        settings = Settings(data_dir=here.settings.data_dir, _env_file=None)
        self.sessions = SessionService(here.database, deaf, settings, KEYRING)
        self.api_tokens = ApiTokenService(here.database, deaf, settings, here.rates)
        self.access = AccessService(here.database, deaf, settings, self.sessions, self.api_tokens, KEYRING)


async def over_after(opens: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until it opens no more; it is asked again and again, as an open page does."""
    since = time.monotonic()
    while await opens():
        assert time.monotonic() - since < 10, "it is still open"
        await asyncio.sleep(0.02)
    return time.monotonic() - since


@pytest.mark.parametrize("act", ["signed out", "disabled"])
async def test_what_ends_here_is_over_there_in_two_seconds(platform: Platform, act: str) -> None:
    parts, there = platform.parts, Replica(platform)
    await platform.sign_in("ravi")
    token = await token_of(platform, "elena")
    elena = await parts.sessions.find(token)
    assert elena is not None
    secret = (await parts.api_tokens.make(elena, "laptop", ["read", "launch"], None)).secret
    host, cookie = await pass_of(platform, elena)
    ways: dict[str, Callable[[], Awaitable[bool]]] = {
        "page": lambda: _is_somebody(there.sessions.find(token, opened=True)),
        "gate": lambda: _passes(there.access, host, cookie),
    }
    if act == "disabled":
        ways["token"] = lambda: _is_somebody(there.api_tokens.find(secret))
    # Asked just before, so that the answers that are reused are as young as they can be.
    assert all([await opens() for opens in ways.values()])
    if act == "signed out":
        await parts.sessions.sign_out(elena)
    else:
        await parts.accounts.disable(SYSTEM, elena.person())
    took = await asyncio.gather(*(over_after(opens) for opens in ways.values()))
    assert max(took) <= IN_FORCE_SECONDS + SLACK_SECONDS, dict(zip(ways, took, strict=True))


async def test_two_memories_do_not_add_up_at_the_gate(platform: Platform) -> None:
    """The gate remembers its passes, and must not make them of what is remembered of a token."""
    parts, there = platform.parts, Replica(platform)
    elena = await platform.sign_in("elena")
    made = await parts.api_tokens.make(elena, "laptop", ["read", "launch"], None)
    host = parts.settings.environment_host((await platform.running(elena)).slug)
    assert await there.api_tokens.find(made.secret) is not None
    await parts.api_tokens.revoke(elena, made.view.id)
    since = time.monotonic()
    await asyncio.sleep(IN_FORCE_SECONDS * 0.75)
    while (await there.access.authorize(host, "", token=made.secret)).verdict is Verdict.PASS:
        assert time.monotonic() - since < 10
        await asyncio.sleep(0.02)
    assert time.monotonic() - since <= IN_FORCE_SECONDS + SLACK_SECONDS


async def _is_somebody(asked: Awaitable[object]) -> bool:
    return await asked is not None


async def _passes(access: AccessService, host: str, cookie: str) -> bool:
    return (await access.authorize(host, cookie)).verdict is Verdict.PASS
