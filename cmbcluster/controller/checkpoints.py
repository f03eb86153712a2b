"""The places between two effects at which a test may kill the controller.

Production passes ``reach_nothing``. A step between effects that is not listed here is not
covered by the crash tests, which enumerate this list.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Checkpoint(StrEnum):
    """Named after what has just happened, or is about to."""

    RESOLUTION_RECORDED = "resolution_recorded"
    BEFORE_LOCK_KEPT = "before_lock_kept"
    LOCK_KEPT = "lock_kept"
    BEFORE_START = "before_start"
    STARTED = "started"
    BEFORE_RUNNING_RECORDED = "before_running_recorded"
    RUNNING_RECORDED = "running_recorded"
    BEFORE_STOP = "before_stop"
    STOP_ASKED = "stop_asked"
    STOPPING_RECORDED = "stopping_recorded"
    BEFORE_STOPPED_RECORDED = "before_stopped_recorded"
    DELETING_RECORDED = "deleting_recorded"
    REMOVED = "removed"
    BEFORE_DEADLINE_STOP = "before_deadline_stop"
    DEADLINE_STOP_ASKED = "deadline_stop_asked"
    BEFORE_WARNING = "before_warning"
    WARNED = "warned"


Probe = Callable[[Checkpoint], None]


def reach_nothing(_checkpoint: Checkpoint) -> None:
    """The probe of production: does nothing."""
