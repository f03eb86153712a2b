"""What a benchmark found, on the terminal and in ``docs/benchmarks.md``.

Each program owns one section of that file and replaces it whole. Nothing is written that
was not measured in the same run.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`; one section for each program of `tests/bench/`. Ratios and differences are
between things measured in turn in the same run on the same machine, so they travel better than the
figures they are made of.
"""


@dataclass(frozen=True)
class Row:
    """One measured figure. ``met`` is None where there is no goal."""

    what: str
    measured: str
    spread: str = ""
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Section:
    """All one program has to say. ``notes`` are paragraphs: how it is measured, what falls short."""

    key: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` of the others lie, interpolated."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * part
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def millis(seconds: float) -> str:
    """Seconds as milliseconds in words."""
    value = seconds * 1000
    return f"{value:.2f} ms" if abs(value) < 10 else f"{value:.0f} ms"


def least_and_most(values: Sequence[float]) -> str:
    """The extremes of some seconds, for a table."""
    return f"{millis(min(values))} to {millis(max(values))}"


def publish(section: Section) -> None:
    """Print the section and put it in its place in the page."""
    text = _drawn(section)
    print(text, flush=True)
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    begin, end = f"<!-- {section.key} -->", f"<!-- end of {section.key} -->"
    block = f"{begin}\n{text}\n{end}"
    known = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    page = known.sub(lambda _: block, page) if known.search(page) else f"{page.rstrip()}\n\n{block}\n"
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")


def _drawn(section: Section) -> str:
    lines = [f"## {section.title}", "", _circumstances(), ""]
    lines += ["| what | measured | spread | goal | met |", "|---|---|---|---|---|"]
    for row in section.rows:
        met = "" if row.met is None else "yes" if row.met else "**no**"
        lines.append(f"| {row.what} | {row.measured} | {row.spread} | {row.goal} | {met} |")
    for note in section.notes:
        lines += ["", note]
    return "\n".join(lines)


def _circumstances() -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = os.getloadavg()[0]
    return f"{when}, commit {_commit()}, {_machine()}, load {load:.1f} at the end of the run."


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    short = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{short} with changes" if git("status", "--porcelain", "--", "cmbcluster") else short


def _machine() -> str:
    cores = os.cpu_count() or 1
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{_processor()} with {cores} cores and {gib:.0f} GiB, {system}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    return names[0] if names and names[0] else platform.machine()
