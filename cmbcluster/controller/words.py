"""The sentences a person reads when something stopped: what happened, and what to do next."""

from __future__ import annotations

from cmbcluster.domain.images import ImageSource, PinnedImage
from cmbcluster.domain.lifecycle import StopReason

KEPT = "Start it again whenever you like; your workspace is kept."

STOPPED: dict[StopReason, tuple[str, str]] = {
    StopReason.ASKED: ("You stopped it.", KEPT),
    StopReason.CANCELLED: ("You cancelled the launch.", KEPT),
    StopReason.PLATFORM_STOPPED: ("It was stopped together with the platform.", KEPT),
    StopReason.EXITED: ("The application ended by itself.", KEPT),
}
RESTARTED = "Its workspace is kept; what it held in memory is lost."
LOST = (
    "It is not running any more, and it left no word why.",
    "This happens when the machine restarts. Start it again; your workspace is kept.",
)
INDEX_SILENT = (
    "The package index did not answer.",
    "Check the network, then try again.",
)
REGISTRY_SILENT = (
    "The registry of its image did not answer.",
    "Try again in a few minutes; if it stays so, ask whoever runs the platform.",
)


def pinned(source: ImageSource, image: PinnedImage) -> str:
    """What a tag stands for now: ``3.12 → sha256:ab12cd34ef56, 1.2 GB``."""
    if image.tag_on_nodes:
        return f"{image.tag_on_nodes}, as the machines have it"
    named = f"{source.tag} → " if source.tag else ""
    return f"{named}{image.digest[:19]}, {image.size_words}"


def stopped(reason: StopReason, uptime_seconds: int) -> tuple[str, str]:
    """Why it is stopped, for the reasons that are nobody's failure."""
    if reason is StopReason.DEADLINE:
        return f"Its time ran out after {duration(uptime_seconds)}.", KEPT
    return STOPPED.get(reason, STOPPED[StopReason.ASKED])


def duration(seconds: float) -> str:
    """``45 s``, ``5 min``, ``6 h`` or ``1 h 30 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
