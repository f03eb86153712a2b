"""What the client prints: tables for people, the API's own JSON for scripts.

What a platform or an application wrote is never let through to the terminal as a command.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_GIB = 1024**3
# Colours may pass; whatever else a terminal would obey may not.
_COMMANDS = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
_WIDE = 240
_ROOMY = 130
_STYLES = {"running": "green", "failed": "red", "unknown": "yellow"}


def console(*, errors: bool = False) -> Console:
    """Where it is printed. Without a terminal there is no width to keep to."""
    made = Console(highlight=False, stderr=errors, soft_wrap=True)
    return made if made.is_terminal else Console(highlight=False, stderr=errors, soft_wrap=True, width=_WIDE)


def as_json(value: Any) -> None:
    """The answer of the API as it is."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def plain(text: object) -> str:
    """Text of others without what a terminal would obey."""
    return _COMMANDS.sub("", str(text))


def _cell(text: object) -> str:
    return escape(plain(text).replace("\n", " "))


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table without lines."""
    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for head in heads:
        # A cut value would be a wrong one.
        grid.add_column(head, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    console().print(grid)


def applications(rows: list[dict[str, Any]]) -> None:
    """The catalogue."""
    table(
        ("Application", "Name", "Size", "Needs keys", "What it is"),
        [
            (
                _cell(row["id"]),
                _cell(row["name"]),
                _cell(row["size"]),
                _cell(", ".join(row["needs_keys"]) or "–"),
                _cell(row["summary"]),
            )
            for row in rows
        ],
    )


def environments(rows: list[dict[str, Any]]) -> None:
    """The person's environments, with their addresses where there is room."""
    heads: tuple[str, ...] = ("Name", "Application", "Phase", "Left", "Size")
    lines: list[tuple[str, ...]] = [
        (_cell(row["name"]), _cell(row["application"]), phase(row), left(row), size(row)) for row in rows
    ]
    if console().width >= _ROOMY:
        heads += ("Address",)
        lines = [(*line, _cell(row["address"])) for line, row in zip(lines, rows, strict=True)]
    table(heads, lines)


def environment(row: dict[str, Any]) -> None:
    """Everything about one."""
    grid = Table.grid(padding=(0, 2))
    facts: list[tuple[str, str]] = [
        ("Name", _cell(row["name"])),
        ("Phase", phase(row)),
        ("Left", left(row)),
        ("Application", _cell(row["application"])),
        ("Address", _cell(row["address"])),
        ("Size", size(row)),
        *_content(row),
        ("Made", moment(row["created_at"])),
        ("Id", _cell(row["id"])),
    ]
    if row["reason"]:
        facts.insert(2, ("Why", _cell(f"{row['reason']['what']} {row['reason']['then']}")))
    for name, value in facts:
        grid.add_row(f"[dim]{name}[/dim]", value)
    console().print(grid)


def _content(row: dict[str, Any]) -> list[tuple[str, str]]:
    """What it is made of: an image, or packages."""
    if not row["image"]:
        return [("Packages", _cell(", ".join(row["requirements"]))), ("Python", _cell(row["python"]))]
    size_words = f", {row['image_bytes'] / 1e6:.0f} MB" if row["image_bytes"] else ""
    return [("Image", _cell(row["image"])), ("Digest", _cell(f"{row['image_digest'] or '–'}{size_words}"))]


def phase(row: dict[str, Any]) -> str:
    """The phase in its colour."""
    word = _cell(row["phase"])
    style = _STYLES.get(row["phase"])
    return f"[{style}]{word}[/{style}]" if style else word


def left(row: dict[str, Any]) -> str:
    """Time left until the deadline."""
    if not row["deadline_at"]:
        return "–"
    seconds = int((datetime.fromisoformat(row["deadline_at"]) - datetime.now(UTC)).total_seconds())
    minutes = max(0, seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02d}" if minutes >= 60 else f"{minutes} min"


def moment(text: str | None) -> str:
    """A time in the reader's own zone."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}" if text else "–"


def size(row: dict[str, Any]) -> str:
    """Processors and memory."""
    return f"{row['cpu_millis'] / 1000:g} CPU, {row['memory_bytes'] / _GIB:g} GiB"
