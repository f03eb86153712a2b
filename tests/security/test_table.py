"""The table in ``docs/security.md`` is true: every test it names exists, and no item is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text()
ITEMS = {*range(1, 35), *range(49, 65)}


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_it_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 60
    assert [f"{file}::{name}" for file, name in named if name not in functions_of(file)] == []


def test_every_item_has_a_row_with_a_test() -> None:
    rows = {int(number): row for number, row in re.findall(r"(?m)^\| (\d+) \|(.*)$", TEXT)}
    assert rows.keys() >= ITEMS, f"missing: {sorted(ITEMS - rows.keys())}"
    assert [number for number, row in rows.items() if "::test_" not in row] == []
