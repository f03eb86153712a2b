"""Deadlines, warnings and extensions as arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cmbcluster.domain.actors import Tier
from cmbcluster.domain.tiers import LIMITS
from cmbcluster.domain.uptime import extended, next_wake_at, warnings_due
from cmbcluster.errors import QuotaExceeded

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left_seconds", "due"), [(1000, ()), (900, (900,)), (301, (900,)), (300, (900, 300)), (-5, (900, 300))]
)
def test_warnings_due(left_seconds: int, due: tuple[int, ...]) -> None:
    assert warnings_due(NOW + timedelta(seconds=left_seconds), NOW) == due


def test_next_wake_is_the_next_warning_or_the_end() -> None:
    deadline = NOW + timedelta(seconds=1000)
    assert next_wake_at(deadline, NOW) == deadline - timedelta(seconds=900)
    assert next_wake_at(deadline, deadline - timedelta(seconds=400)) == deadline - timedelta(seconds=300)
    assert next_wake_at(deadline, deadline - timedelta(seconds=10)) == deadline


def test_premium_extends_freely_but_never_past_a_day_from_now() -> None:
    limits = LIMITS[Tier.PREMIUM]
    deadline = NOW + timedelta(hours=1)
    for used in range(10):
        try:
            deadline = extended(limits, deadline, NOW, used)
        except QuotaExceeded:
            break
    assert deadline == NOW + timedelta(hours=24)
    assert extended(limits, deadline, NOW + timedelta(hours=2), 99) == NOW + timedelta(hours=26)


def test_free_extends_once_by_an_hour() -> None:
    limits = LIMITS[Tier.FREE]
    deadline = NOW + timedelta(minutes=30)
    assert extended(limits, deadline, NOW, 0) == deadline + timedelta(hours=1)
    with pytest.raises(QuotaExceeded, match="once"):
        extended(limits, deadline, NOW, 1)
