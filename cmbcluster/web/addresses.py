"""Addresses of pages with what they show: the search, the filter and the page are kept there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from cmbcluster.web.words import count, plural

PAGE_ROWS = 25


@dataclass(frozen=True)
class Pager:
    """The foot of a list."""

    text: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Chip:
    """One choice of a filter."""

    text: str = ""
    href: str = ""
    on: bool = False


def address(path: str, **values: object) -> str:
    """``path`` with the values that say something: empty ones and zeros are left out."""
    kept = {name: value for name, value in values.items() if value not in ("", 0, None)}
    return f"{path}?{urlencode(kept)}" if kept else path


def asked(parameters: Mapping[str, str], name: str, limit: int = 100) -> str:
    """One value of the address, cut to ``limit``."""
    return str(parameters.get(name, ""))[:limit]


def pager(path: str, offset: int, shown: int, total: int, noun: str, nouns: str = "", **values: object) -> Pager:
    """The foot of a list of ``total``, of which ``shown`` from ``offset`` are seen."""
    if total == 0:
        return Pager()
    if total <= PAGE_ROWS and offset == 0:
        return Pager(text=plural(total, noun, nouns))
    text = f"{count(offset + 1)}–{count(offset + shown)} of {plural(total, noun, nouns)}"
    before = address(path, **{**values, "from": max(0, offset - PAGE_ROWS)}) if offset else ""
    after = address(path, **{**values, "from": offset + PAGE_ROWS}) if offset + shown < total else ""
    return Pager(text, before, after)
