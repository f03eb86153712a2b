"""How a run ended, in two sentences for its owner.

The words are decided here from what was recorded; nothing is guessed. A run whose
supervisor vanished without a word is called lost.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.runtime.local.run_folder import Record, Status
from cmbcluster.runtime.port import Ending
from cmbcluster.runtime.wording import START_AGAIN, duration, exit_words, size

SEE_LOG = "See the last lines of its log."
_NOT_STARTED = re.compile(r"^(?:bwrap: execvp|supervisor:) (.+): ([^:]+)$", re.MULTILINE)
PORT_TAKEN = re.compile(r"Failed to bind (?:any )?port|bind.*Address already in use")
NETWORK_GONE = re.compile(
    r"No external routable interface|External interface not usable|Couldn't (?:open|set up) .*tun"
)


def of_status(record: Record, status: Status | None, log_tail: str) -> Ending:
    """The ending of a run whose supervisor is gone."""
    reason, what, then = _words(record, status, log_tail)
    ended_at = status.ended_at if status is not None and status.ended_at is not None else datetime.now(UTC)
    return Ending(reason, what, then, log_tail, status.exit_code if status is not None else None, ended_at)


def of_build(failed: PackagesFailed) -> Ending:
    """The ending of a run whose packages could not be installed."""
    return Ending(failed.reason, failed.what, failed.then, failed.log_tail, None, datetime.now(UTC))


def of_start(what: str, then: str, log_tail: str = "") -> Ending:
    """The ending of a run that got no process."""
    return Ending(StopReason.START_FAILED, what, then, log_tail, None, datetime.now(UTC))


def cancelled() -> Ending:
    """The ending of a run that was stopped before it had a process."""
    return Ending(
        StopReason.CANCELLED, "It was stopped before it had started.", START_AGAIN, ended_at=datetime.now(UTC)
    )


def _words(record: Record, status: Status | None, log_tail: str) -> tuple[StopReason, str, str]:
    if record.never_ready:
        what = f"It started, but nothing answered on port {record.port} within {duration(record.ready_within_seconds)}."
        return StopReason.NEVER_READY, what, SEE_LOG
    if record.stop_asked_at is not None:
        if record.ready_at is None:
            return StopReason.CANCELLED, "It was stopped before it was ready.", START_AGAIN
        return StopReason.ASKED, "It was stopped.", START_AGAIN
    if status is None or status.ended_at is None:
        if status is not None and not status.same_boot:
            return StopReason.LOST, "It ended when this machine was started anew.", START_AGAIN
        return StopReason.LOST, "It was ended from outside, and nothing says how.", START_AGAIN
    if status.reason == "memory":
        what = f"It used more than {size(record.memory_bytes)} and was stopped."
        return StopReason.MEMORY, what, "Start it with more memory. Its workspace is kept."
    if status.reason == "processes":
        return StopReason.PROCESSES, f"It had more than {record.processes} processes and was stopped.", SEE_LOG
    if status.reason == "stopped":
        # Somebody told the supervisor directly.
        return StopReason.ASKED, "It was stopped from outside.", START_AGAIN
    if record.ready_at is None and (match := _NOT_STARTED.search(log_tail)):
        what = f"“{match.group(1)}” could not be started: {match.group(2).strip().lower()}."
        return StopReason.START_FAILED, what, "Check the start command."
    then = SEE_LOG if log_tail.strip() else "It printed nothing. Check the start command."
    return StopReason.EXITED, exit_words(status.exit_code or 0, ready=record.ready_at is not None), then
