"""Numbers and phases in words. Times of day are not here: only the browser knows the reader's zone."""

from __future__ import annotations

from datetime import datetime

from cmbcluster.domain.contents import Source
from cmbcluster.domain.images import ImageSource
from cmbcluster.domain.lifecycle import AT_REST, LAUNCHING, Phase, Stage
from cmbcluster.domain.tiers import GIB, MIB

KIB = 1024
ICONS = frozenset({"jupyter", "agent", "denario", "explorer", "sliders", "custom"})

# Phase: family of colours, word. What is built of packages is pulled as an image.
PHASES: dict[Phase, tuple[str, str]] = {
    Phase.QUEUED: ("", "Queued"),
    Phase.SCHEDULING: ("move", "Scheduling"),
    Phase.PULLING: ("move", "Building"),
    Phase.STARTING: ("move", "Starting"),
    Phase.RUNNING: ("ok", "Running"),
    Phase.STOPPING: ("", "Stopping"),
    Phase.STOPPED: ("", "Stopped"),
    Phase.FAILED: ("bad", "Failed"),
    Phase.DELETING: ("bad", "Deleting"),
    Phase.GONE: ("bad", "Deleted"),
    Phase.UNKNOWN: ("warn", "Unknown"),
}
PULLING_IMAGE = ("move", "Pulling")

STAGES: dict[Stage, str] = {
    Stage.QUEUED: "Queued",
    Stage.SCHEDULING: "Scheduling",
    Stage.RESOLVING: "Resolving",
    Stage.DOWNLOADING: "Downloading",
    Stage.INSTALLING: "Installing",
    Stage.STARTING: "Starting",
    Stage.PORT: "Port answers",
}


def kind_of(phase: Phase) -> str:
    """What a row offers: launching, running, stopping, rest, failed, deleting or unknown."""
    if phase in LAUNCHING:
        return "launching"
    if phase is Phase.FAILED:
        return "failed"
    if phase in AT_REST:
        return "rest"
    if phase is Phase.GONE:
        return "deleting"
    return phase.value


def phase_word(phase: Phase, source: Source) -> tuple[str, str]:
    """A phase's family of colours and its word, which differs where an image is pulled."""
    return PULLING_IMAGE if phase is Phase.PULLING and isinstance(source, ImageSource) else PHASES[phase]


def phase_glyph(phase: Phase) -> str:
    """The name of the phase's drawing in the sprite."""
    return "deleting" if phase is Phase.GONE else phase.value


def icon_of(icon: str) -> str:
    """The application's drawing; a frame of dashes for one that has none of its own."""
    return icon if icon in ICONS else "custom"


def epoch(moment: datetime | None) -> float:
    """Seconds since 1970 for the browser, 0 for no moment."""
    return moment.timestamp() if moment is not None else 0.0


def count(number: int) -> str:
    """``1 209``, with a thin space."""
    return f"{number:,}".replace(",", "\u202f")


def plural(number: int, one: str, many: str = "") -> str:
    """``1 package``, ``118 packages``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def bytes_words(size: int) -> str:
    """``12.6 GiB``, ``812 MiB``, ``2.3 KiB``, ``17 B``."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            amount = size / unit
            return f"{amount:.1f} {name}" if amount < 100 and amount % 1 >= 0.05 else f"{amount:.0f} {name}"
    return f"{size} B"


def gib(size: int) -> str:
    """Gibibytes as a bare figure: ``8``, ``6.4``."""
    return f"{size / GIB:.1f}".removesuffix(".0")


def cpu(millis: float) -> str:
    """Cores as a bare figure: ``4``, ``0.5``."""
    return f"{millis / 1000:.1f}".removesuffix(".0")


def size_words(cpu_millis: int, memory_bytes: int) -> str:
    """``4 CPU · 8 GiB``."""
    return f"{cpu(cpu_millis)} CPU · {bytes_words(memory_bytes)}"


def seconds_words(seconds: float) -> str:
    """A measured length: ``0.4 s``, ``38 s``, ``2 min 05 s``, ``1 h 12 min``."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) // 60 % 60} min"


def about_words(seconds: float) -> str:
    """An estimated length, without false exactness: ``5 s``, ``2 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


def hours_words(seconds: int) -> str:
    """A promised length: ``45 min``, ``1 hour``, ``6 hours``."""
    if seconds % 3600:
        return f"{seconds // 60} min"
    return plural(seconds // 3600, "hour")


def hours_short(seconds: int) -> str:
    """A promised length in a narrow place: ``45 min``, ``24 h``."""
    return f"{seconds // 60} min" if seconds % 3600 else f"{seconds // 3600} h"


def digest_words(digest: str) -> str:
    """``sha256:9c1e…b07d``, or an empty string."""
    head, _, tail = digest.partition(":")
    return f"{head}:{tail[:4]}…{tail[-4:]}" if len(tail) > 12 else digest


def initials(name: str) -> str:
    """``EM`` for Elena Marchetti."""
    words = [word for word in name.split() if word[0].isalnum()]
    if not words:
        return "–"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


def without_stop(sentence: str) -> str:
    """A sentence as a line of a list."""
    return sentence.rstrip(". ")


def sentence(text: str) -> str:
    """A line of a list as a sentence."""
    text = text.strip()
    return text if not text or text[-1] in ".!?…" else text + "."


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
