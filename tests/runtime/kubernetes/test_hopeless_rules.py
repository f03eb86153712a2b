"""Every rule of launches that cannot succeed, and of endings, is named by a test that a real cluster answers."""

from __future__ import annotations

import importlib
from pathlib import Path

from cmbcluster.runtime.kubernetes import ending_rules
from cmbcluster.runtime.kubernetes.hopeless_rules import RULES

MODULES = sorted((Path(__file__).parents[2] / "kubernetes").glob("test_*.py"))

# What no test of the one cluster that all share can bring up, and why.
NOT_BROUGHT_UP = {
    "node-closed": "a taint that takes pods away would take other tests' from the one machine",
    "node-short": "the machine would have to run short of memory or disk, and would end what other tests run on it",
    "lost": "a pod that is over without a word of its container or a condition; only clusters before 1.26 leave one",
    "install-machine-full": "the machine would have to be full; a file system that is too small stands in for it",
    "install-volume-full": "claims of the test cluster have no size that anybody enforces; the same stands in for it",
    "program-not-started": "every refusal of the container runtime that can be brought about names the program",
}


def named(kind: str) -> dict[str, str]:
    """The rules that tests of the cluster bring up, and one test for each; conftest.py there sees that they do."""
    found: dict[str, str] = {}
    for path in MODULES:
        module = importlib.import_module(f"tests.kubernetes.{path.stem}")
        for name, each in vars(module).items():
            for mark in getattr(each, "pytestmark", ()) if name.startswith("test_") else ():
                if mark.name == kind:
                    found[mark.args[0]] = f"{path.stem}.{name}"
    return found


def test_each_rule_has_a_name_of_its_own_and_a_test_on_the_real_cluster() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    found = named("hopeless")
    assert [name for name in names if name not in found] == []
    assert [found[name] for name in found if name not in names] == []


def test_each_rule_of_endings_has_a_name_of_its_own_and_a_test_on_the_real_cluster_or_a_reason() -> None:
    names = [rule.name for rule in (*ending_rules.RULES, ending_rules.DELETED)]
    assert len({*names, *(rule.name for rule in RULES)}) == len(names) + len(RULES)
    found = named("ended")
    assert [name for name in names if (name in found) is (name in NOT_BROUGHT_UP)] == []
    assert [name for name in (*found, *NOT_BROUGHT_UP) if name not in names] == []
    assert set(ending_rules.DISRUPTIONS.values()) <= set(names)
