"""What a platform that nobody looks at costs: memory, processor time, and the seconds of a start."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import psutil

from tests.bench.report import Row, Section, publish
from tests.bench.running import Up, up
from tests.bench.surroundings import data_folder, free_port

SETTLE_SECONDS = 20.0
IDLE_SECONDS = 20.0
GOAL_BYTES = 200 * 1024**2
GOAL_CPU_PERCENT = 0.5  # What rounds to nothing on a meter of whole percents.
GOAL_READY_SECONDS = 5.0
MIB = 1024**2
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def own_bytes(process: psutil.Process) -> int:
    """Memory of a process, with shared pages counted by their share."""
    found = _PSS.search(Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else 0


def cpu_seconds(here: Up) -> float:
    """Processor time of all its processes until now."""
    return sum(sum(process.cpu_times()[:2]) for process in here.family())


def _measure() -> Section:
    with data_folder() as data:
        port = free_port()
        with up(data, port) as first:
            first_seconds = first.ready_seconds
        with up(data, port) as here:
            time.sleep(SETTLE_SECONDS)
            memory: Counter[str] = Counter()
            for process in here.family():
                memory[process.name()] += own_bytes(process)
            before = cpu_seconds(here)
            time.sleep(IDLE_SECONDS)
            percent = (cpu_seconds(here) - before) / IDLE_SECONDS * 100
            return _section(first_seconds, here.ready_seconds, memory, percent)


def _section(first_seconds: float, ready_seconds: float, memory: dict[str, int], percent: float) -> Section:
    total = sum(memory.values())
    shares = ", ".join(f"{name} {size / MIB:.0f} MiB" for name, size in memory.items())
    rows = (
        Row("memory of all our processes", f"{total / MIB:.0f} MiB", shares, "≤ 200 MiB", total <= GOAL_BYTES),
        Row(
            "processor time while nobody looks",
            f"{percent:.2f} % of one core",
            f"over {IDLE_SECONDS:.0f} s",
            "0 %",
            percent <= GOAL_CPU_PERCENT,
        ),
        Row(
            "start to first answer, pages built before",
            f"{ready_seconds:.1f} s",
            "one start",
            "< 5 s",
            ready_seconds < GOAL_READY_SECONDS,
        ),
        Row("the very first start, which builds the pages when needed", f"{first_seconds:.1f} s", "one start"),
    )
    notes = (
        f"`cmbcluster up` on a fresh data folder, ended and started again. Memory is the proportional set size (PSS) "
        f"of the process and its children after {SETTLE_SECONDS:.0f} s without a visitor; environments would come on "
        "top with what their programs need. Ready is the first good answer of `/healthz` through the edge. What counts "
        f"as 0 % is less than {GOAL_CPU_PERCENT} %: timers of the runtime and of Caddy wake now and then. The first "
        "start is quicker where the sources' build is in the project's folder already.",
    )
    return Section("idle", "At rest", rows, notes)


def main() -> None:
    """Measure and write."""
    publish(_measure())


if __name__ == "__main__":
    main()
