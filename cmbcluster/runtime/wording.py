"""Turns of phrase that every runtime uses when it says how a run ended."""

from __future__ import annotations

import signal

START_AGAIN = "Start it again. Its workspace is kept."


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
