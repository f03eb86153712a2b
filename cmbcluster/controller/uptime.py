"""The uptime contract: warned in time, stopped at the deadline, each once.

Deadlines are derived from the row and compared with the database's clock, and a warning's
key contains its deadline, so no restart forgets or repeats one and an extension earns new
ones.
"""

from __future__ import annotations

from datetime import datetime

from cmbcluster.controller.checkpoints import Checkpoint, Probe
from cmbcluster.controller.recorder import Notice, Recorder
from cmbcluster.controller.words import duration
from cmbcluster.db.environments import StandingRow
from cmbcluster.db.models import Environment
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.uptime import next_wake_at, warnings_due
from cmbcluster.services.portraits import deadline_of

CLOCK_LOOK_SECONDS = 600.0  # Clocks may step; a deadline is looked at this often at least.


class Uptime:
    """Looks at one running environment's time."""

    def __init__(self, recorder: Recorder, reach: Probe) -> None:
        self._recorder = recorder
        self._reach = reach

    async def look(self, row: Environment, now: datetime) -> float | None:
        """Warn or stop when due; returns the seconds until the next thing is due."""
        deadline_at = deadline_of(row)
        if deadline_at is None:
            return CLOCK_LOOK_SECONDS
        if now >= deadline_at:
            self._reach(Checkpoint.BEFORE_DEADLINE_STOP)
            await self._recorder.ask_to_stop(row, StopReason.DEADLINE, _is_over)
            self._reach(Checkpoint.DEADLINE_STOP_ASKED)
            return 0.0
        if _warning(row, now) is not None:
            self._reach(Checkpoint.BEFORE_WARNING)
            await self._recorder.warn(row, _warning)
            self._reach(Checkpoint.WARNED)
        wake_seconds = (next_wake_at(deadline_at, now) - now).total_seconds()
        return min(max(wake_seconds, 0.0) + 0.01, CLOCK_LOOK_SECONDS)


def quiet_seconds(row: StandingRow, now: datetime) -> float | None:
    """How long nothing is due about the time of what runs; None when something may be due now."""
    deadline_at = deadline_of(row)
    if deadline_at is None or warnings_due(deadline_at, now):
        return None
    return min((next_wake_at(deadline_at, now) - now).total_seconds() + 0.01, CLOCK_LOOK_SECONDS)


def _is_over(row: Environment, now: datetime) -> bool:
    deadline_at = deadline_of(row)
    return deadline_at is not None and now >= deadline_at


def _warning(row: Environment, now: datetime) -> Notice | None:
    """The warning that is due, if one is."""
    deadline_at = deadline_of(row)
    if deadline_at is None or now >= deadline_at:
        return None
    total_seconds = row.uptime_seconds + row.extra_seconds
    # A warning that would come with the very start tells nothing, and of several that
    # are due together (after a pause of ours) only the most urgent is worth reading.
    due = [seconds for seconds in warnings_due(deadline_at, now) if seconds < total_seconds]
    if not due:
        return None
    left = duration((deadline_at - now).total_seconds())
    once = f"warned:{row.id}:{row.run}:{deadline_at.isoformat()}:{min(due)}"
    return Notice("warned", f"{row.name} stops in {left}. Extend it, or save your work.", once)
