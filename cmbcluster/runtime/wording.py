"""What every runtime does with words: how a run ended, and what a program said as a page and a database can have it."""

from __future__ import annotations

import re
import signal

# Colours and cursor movements of terminals, and other characters that no page can show and not every database keeps.
_UNSHOWABLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f]")
START_AGAIN = "Start it again. Its workspace is kept."


def showable(text: str) -> str:
    """``text`` without what is meant for a terminal."""
    return _UNSHOWABLE.sub("", text)


def exit_words(code: int, *, ready: bool) -> str:
    """How a program ended that nobody stopped."""
    when = "" if ready else " before it answered"
    if code == 0:
        return f"It ended by itself{when}, without an error."
    if code > 128:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            name = str(code - 128)
        return f"It was ended by the signal {name}{when}."
    return f"It ended by itself with exit code {code}{when}."


def size(size_bytes: int) -> str:
    """Bytes as people say them: ``4 GiB``."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes} bytes"


def duration(seconds: int) -> str:
    """Seconds as people say them: ``45 s``, ``2 min``."""
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{seconds} s"
    return f"{minutes} min" if not rest else f"{minutes} min {rest} s"
