"""What a run uses now, read from its control group or its process tree.

Called when somebody looks, never by itself. What cannot be measured is None.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cmbcluster.domain.views import UsageView
from cmbcluster.runtime.local.isolation import OWN_NETWORK
from cmbcluster.runtime.local.process_tree import descendants, fair_memory_of, program_of
from cmbcluster.runtime.local.run_folder import Record, Status


@dataclass
class Meter:
    """Remembers the last sample of one run: CPU is the difference of two."""

    cpu_seconds: float | None = None
    sampled_at: float = 0.0

    def measure(self, record: Record, status: Status) -> UsageView:
        """What the run uses now. Blocking, a few milliseconds."""
        pids = descendants(status.supervisor)
        received, sent = _network(record, status)
        return UsageView(
            measured_at=datetime.now(UTC),
            cpu_millis=self._cpu_millis(pids),
            memory_bytes=_group_memory(record) or (fair_memory_of(pids) if pids else None),
            processes=_own_processes(status),
            received_bytes=received,
            sent_bytes=sent,
        )

    def _cpu_millis(self, pids: list[int]) -> float | None:
        now, used = time.monotonic(), _cpu_seconds(pids)
        before, since = self.cpu_seconds, now - self.sampled_at
        self.cpu_seconds, self.sampled_at = used, now
        if before is None or since <= 0:
            return None
        return max(0.0, (used - before) / since * 1000)


def _cpu_seconds(pids: list[int]) -> float:
    """CPU time of the living processes and of those they waited for."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
            ticks += sum(int(word) for word in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _group_memory(record: Record) -> int | None:
    """Memory as the control group counts it, without file cache that can be dropped."""
    for folder in record.cgroups:
        for name in ("memory.current", "memory.usage_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                used = int(Path(folder, name).read_text(encoding="ascii"))
                rows = dict(
                    line.split() for line in Path(folder, "memory.stat").read_text(encoding="ascii").splitlines()
                )
                cache = rows.get("total_inactive_file", rows.get("inactive_file", "0"))
                return max(0, used - int(cache))
    return None


def _own_processes(status: Status) -> int | None:
    """How many processes the application has, without our wrappers."""
    program = program_of(status.child)
    return None if program is None else 1 + len(descendants(program))


def _network(record: Record, status: Status) -> tuple[int | None, int | None]:
    """Bytes the environment's own network received and sent; its loopback is not counted."""
    program = program_of(status.child)
    if record.protection is None or record.protection.level != OWN_NETWORK or program is None:
        return None, None
    received = sent = 0
    try:
        lines = Path(f"/proc/{program}/net/dev").read_text(encoding="ascii").splitlines()[2:]
        for line in lines:
            name, _, figures = line.partition(":")
            if name.strip() != "lo":
                words = figures.split()
                received, sent = received + int(words[0]), sent + int(words[8])
    except (OSError, IndexError, ValueError):
        return None, None
    return received, sent
