"""Rules of the pages' source: colours in the stylesheet, no Radix Themes, nothing that needs eval."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from tools.sprite import sprite

ROOT = Path(__file__).parents[2]
WEB = ROOT / "cmbcluster" / "web"
SOURCES = sorted([*WEB.rglob("*.py"), *WEB.rglob("*.jsx")])
HEX = re.compile(r"(?<![&\w])#[0-9a-fA-F]{3}(?:[0-9a-fA-F]{3})?\b")
EVAL = re.compile(r"\beval\(|new Function|rx\.toast|call_script|call_function|rx\.upload|dangerouslySetInnerHTML=")
THEMED = re.compile(
    r"\brx\.(box|text|link|card|dialog|skeleton|drawer|button|heading|flex|vstack|hstack|badge|input)\b"
)
BUILT = ROOT / ".web" / "build" / "client"
STYLES_LIMIT_BYTES = 20_000


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(WEB)))
def test_a_source_keeps_the_rules(source: Path) -> None:
    text = source.read_text()
    assert not HEX.search(text), "colours are written in the stylesheets"
    assert not EVAL.search(text), "the pages work without eval"
    assert not THEMED.search(text), "this switches Radix Themes on"


def test_dark_has_every_colour_that_light_has() -> None:
    css = (ROOT / "assets" / "cmb.css").read_text()
    light, dark = css.split(".dark {", 1)
    names = set(re.findall(r"(--[\w-]+):\s*(?:#|rgb)", light))
    assert names
    assert names <= set(re.findall(r"(--[\w-]+):", dark.split("/* end of tokens")[0]))


def test_the_sprite_is_as_drawn() -> None:
    assert (ROOT / "assets" / "glyphs.svg").read_text() == sprite(), "run python tools/sprite.py"


def test_every_drawing_that_is_used_exists() -> None:
    drawn = set(re.findall(r'id="([iga]-[\w-]+)"', sprite()))
    used: set[str] = set()
    for source in SOURCES:
        text = source.read_text()
        used |= {f"i-{name}" for name in re.findall(r'\bicon\("([\w-]+)"', text)}
        used |= {f"g-{name}" for name in re.findall(r'\bglyph\("([\w-]+)"', text)}
        used |= {f"i-{name}" for name in re.findall(r'<Icon name="([\w-]+)"', text)}
        used |= set(re.findall(r"glyphs\.svg#([ig]-[\w-]+)", text))
    assert used
    assert used <= drawn


def test_the_built_styles_are_ours_and_small() -> None:
    # Asked here and not when tests are collected: the tests of the command line build the pages.
    if not BUILT.exists() and not os.environ.get("CMB_REQUIRE_ALL"):
        pytest.skip("the pages are not built: make run builds them")
    sheets = list(BUILT.glob("assets/*.css"))
    assert sheets
    text = "".join(sheet.read_text() for sheet in sheets)
    assert ".rt-" not in text
    assert sum(len(gzip.compress(sheet.read_bytes(), 9)) for sheet in sheets) <= STYLES_LIMIT_BYTES
