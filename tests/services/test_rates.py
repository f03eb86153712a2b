"""Counting: by address or person, with the time to wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cmbcluster.domain.actors import ANONYMOUS, Actor
from cmbcluster.errors import TooManyRequests
from cmbcluster.services.rates import Limited, RateService
from cmbcluster.settings import Settings
from tests.platform import Platform


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: nothing here depends on the database."""
    return f"sqlite+aiosqlite:///{tmp_path / 'cmbcluster.db'}"


HERE = replace(ANONYMOUS, address="192.0.2.1")
THERE = replace(ANONYMOUS, address="192.0.2.2")


def few() -> RateService:
    return RateService(Settings(sign_ins_per_minute=3, _env_file=None))


async def count(rates: RateService, actor: Actor, what: Limited, most: int = 200) -> int:
    """How often it goes well."""
    for number in range(most):
        try:
            await rates.check(actor, what)
        except TooManyRequests as refused:
            assert 0 < refused.retry_after_seconds <= 3600
            assert refused.then == f"Try again in {refused.retry_after_seconds} s." or "min" in refused.then
            return number
    return most


async def test_signing_in_is_counted_by_address() -> None:
    rates = few()
    assert await count(rates, HERE, Limited.SIGN_IN) == 3
    assert await count(rates, HERE, Limited.CALLBACK) == 60
    assert await count(rates, THERE, Limited.SIGN_IN) == 3


async def test_launches_are_counted_by_person_wherever_they_are(platform: Platform) -> None:
    rates = few()
    elena = await platform.sign_in("elena")
    again = replace(await platform.sign_in("elena"), address="192.0.2.9")
    assert again.session_id != elena.session_id
    first = await count(rates, elena, Limited.LAUNCH, 40)
    assert first + await count(rates, again, Limited.LAUNCH) == 60
    assert await count(rates, await platform.sign_in("ada"), Limited.LAUNCH) == 60


async def test_opening_is_counted_by_session(platform: Platform) -> None:
    rates = few()
    one, other = await platform.sign_in("elena"), await platform.sign_in("elena")
    assert await count(rates, one, Limited.OPEN) == 60
    assert await count(rates, other, Limited.OPEN) == 60


async def test_of_ipv6_a_whole_network_is_one_address() -> None:
    rates = few()
    assert await count(rates, replace(ANONYMOUS, address="2001:db8:1:2::1"), Limited.SIGN_IN) == 3
    assert await count(rates, replace(ANONYMOUS, address="2001:db8:1:2:ffff::9"), Limited.SIGN_IN) == 0
    assert await count(rates, replace(ANONYMOUS, address="2001:db8:1:3::1"), Limited.SIGN_IN) == 3
