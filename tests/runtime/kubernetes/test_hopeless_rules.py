"""Every rule of launches that cannot succeed is named by a test that a real cluster answers."""

from __future__ import annotations

import importlib
from pathlib import Path

from cmbcluster.runtime.kubernetes.hopeless import RULES

MODULES = sorted((Path(__file__).parents[2] / "kubernetes").glob("test_*.py"))


def named() -> dict[str, str]:
    """The rules that tests of the cluster bring up, and one test for each; conftest.py there sees that they do."""
    found: dict[str, str] = {}
    for path in MODULES:
        module = importlib.import_module(f"tests.kubernetes.{path.stem}")
        for name, each in vars(module).items():
            for mark in getattr(each, "pytestmark", ()) if name.startswith("test_") else ():
                if mark.name == "hopeless":
                    found[mark.args[0]] = f"{path.stem}.{name}"
    return found


def test_each_rule_has_a_name_of_its_own_and_a_test_on_the_real_cluster() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    found = named()
    assert [name for name in names if name not in found] == []
    assert [found[name] for name in found if name not in names] == []
