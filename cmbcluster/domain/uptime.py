"""Deadlines and warnings as arithmetic on times the caller gives; no clock is read here."""

from __future__ import annotations

from datetime import datetime, timedelta

from cmbcluster.domain.tiers import Limits
from cmbcluster.errors import QuotaExceeded

WARNING_THRESHOLDS_SECONDS: tuple[int, ...] = (900, 300)


def warnings_due(deadline_at: datetime, now: datetime) -> tuple[int, ...]:
    """The thresholds (seconds before the deadline) that have been reached, longest first."""
    left_seconds = (deadline_at - now).total_seconds()
    return tuple(t for t in WARNING_THRESHOLDS_SECONDS if left_seconds <= t)


def next_wake_at(deadline_at: datetime, now: datetime) -> datetime:
    """The next moment at which a warning or the stop is due."""
    moments = [deadline_at - timedelta(seconds=t) for t in WARNING_THRESHOLDS_SECONDS]
    moments.append(deadline_at)
    return next((m for m in moments if m > now), deadline_at)


def extended(limits: Limits, deadline_at: datetime, now: datetime, extensions_used: int) -> datetime:
    """The deadline after one extension.

    Raises QuotaExceeded when the tier allows no more of them, or when the new deadline
    would lie further ahead than the tier's longest uptime.
    """
    if limits.extensions is not None and extensions_used >= limits.extensions:
        times = "once" if limits.extensions == 1 else f"{limits.extensions} times"
        raise QuotaExceeded(
            f"Your tier allows to extend {times}.", "Save your work; you can start it again after it stops."
        )
    furthest = now + timedelta(seconds=limits.longest_uptime_seconds)
    if limits.extensions is not None:
        furthest = deadline_at + timedelta(seconds=limits.extension_seconds)
    new = min(deadline_at + timedelta(seconds=limits.extension_seconds), furthest)
    if new <= deadline_at + timedelta(seconds=60):
        raise QuotaExceeded(
            "It already runs as long as your tier allows.", "Extend it again when some of its time has passed."
        )
    return new
