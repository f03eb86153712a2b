"""What each tier allows. The figures are product.md §3; here they are the only copy.

Pure arithmetic: the counting happens in the transaction that inserts the row.
"""

from __future__ import annotations

from dataclasses import dataclass

from cmbcluster.domain.actors import Tier
from cmbcluster.errors import InvalidInput, QuotaExceeded

GIB = 1024**3
MIB = 1024**2

CPU_FLOOR_MILLIS = 100
MEMORY_FLOOR_BYTES = 256 * MIB


@dataclass(frozen=True)
class Limits:
    """The limits of one person. CPU in thousandths of a core, time in seconds."""

    running_at_once: int
    kept: int
    longest_uptime_seconds: int
    extension_seconds: int
    extensions: int | None  # None: as often as wanted, within longest_uptime_seconds from now
    cpu_millis: int
    memory_bytes: int
    processes: int
    workspace_bytes: int


LIMITS: dict[Tier, Limits] = {
    Tier.FREE: Limits(
        running_at_once=1,
        kept=3,
        longest_uptime_seconds=3600,
        extension_seconds=3600,
        extensions=1,
        cpu_millis=2000,
        memory_bytes=4 * GIB,
        processes=512,
        workspace_bytes=10 * GIB,
    ),
    Tier.PREMIUM: Limits(
        running_at_once=5,
        kept=20,
        longest_uptime_seconds=24 * 3600,
        extension_seconds=6 * 3600,
        extensions=None,
        cpu_millis=8000,
        memory_bytes=16 * GIB,
        processes=2048,
        workspace_bytes=50 * GIB,
    ),
}


@dataclass(frozen=True)
class Size:
    """A named choice in the launch dialog."""

    id: str
    name: str
    cpu_millis: int
    memory_bytes: int


SIZES: tuple[Size, ...] = (
    Size("small", "Small", 1000, 2 * GIB),
    Size("medium", "Medium", 2000, 4 * GIB),
    Size("large", "Large", 4000, 8 * GIB),
    Size("largest", "Largest", 8000, 16 * GIB),
)

USUAL_UPTIME_SECONDS = 6 * 3600
UPTIME_CHOICES_SECONDS: tuple[int, ...] = (3600, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)


def sizes_within(limits: Limits) -> tuple[Size, ...]:
    """The sizes that fit the limits, smallest first."""
    return tuple(s for s in SIZES if s.cpu_millis <= limits.cpu_millis and s.memory_bytes <= limits.memory_bytes)


def uptimes_within(limits: Limits) -> tuple[int, ...]:
    """The uptime choices that fit the limits, in seconds, shortest first."""
    return tuple(s for s in UPTIME_CHOICES_SECONDS if s <= limits.longest_uptime_seconds)


def usual_size(limits: Limits, proposed: str) -> Size:
    """The size to begin with: the one the application proposes, or the largest that fits."""
    fitting = sizes_within(limits)
    return next((size for size in fitting if size.id == proposed), fitting[-1])


def usual_uptime_seconds(limits: Limits) -> int:
    """The uptime to begin with."""
    usual = (seconds for seconds in uptimes_within(limits) if seconds <= USUAL_UPTIME_SECONDS)
    return max(usual, default=limits.longest_uptime_seconds)


def check_size(limits: Limits, cpu_millis: int, memory_bytes: int) -> None:
    """Raise InvalidInput below the floor and QuotaExceeded above the tier."""
    if cpu_millis < CPU_FLOOR_MILLIS or memory_bytes < MEMORY_FLOOR_BYTES:
        raise InvalidInput("size", "That size is too small.", "Ask for at least 0.1 CPU and 256 MiB.")
    if cpu_millis > limits.cpu_millis or memory_bytes > limits.memory_bytes:
        raise QuotaExceeded(
            f"Your tier allows {limits.cpu_millis / 1000:g} CPU and {limits.memory_bytes / GIB:g} GiB each.",
            "Choose a smaller size.",
        )


def check_uptime(limits: Limits, seconds: int) -> None:
    """Raise InvalidInput or QuotaExceeded for an uptime the tier does not allow."""
    if seconds < 60:
        raise InvalidInput("uptime", "An environment runs for at least a minute.", "Choose a longer time.")
    if seconds > limits.longest_uptime_seconds:
        raise QuotaExceeded(
            f"Your tier allows {limits.longest_uptime_seconds // 60} min at most.", "Choose a shorter time."
        )


def check_room(limits: Limits, running: int, kept: int, *, adds_kept: bool) -> None:
    """Raise QuotaExceeded when one more would pass a limit.

    ``running`` counts what occupies a place now, ``kept`` all that exist; ``adds_kept`` is
    true for a launch and false for starting again one that is kept already.
    """
    if running >= limits.running_at_once:
        raise QuotaExceeded(f"You have {running} of {limits.running_at_once} running.", "Stop one, then launch this.")
    if adds_kept and kept >= limits.kept:
        raise QuotaExceeded(f"You keep {kept} of {limits.kept} environments.", "Delete one, then launch this.")
