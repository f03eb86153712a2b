"""What is missing and what would fit, by machines that would take the pod."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.runtime.kubernetes import manifests
from cmbcluster.runtime.kubernetes.room import is_closed, shortage, tolerates
from tests.runtime.kubernetes.specs import GROUND, packages_spec

POD = manifests.pod(GROUND, packages_spec(), None)
SAID = "0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available"
EFFECTS = ("NoSchedule", "NoExecute", "PreferNoSchedule")
HARD = EFFECTS[:2]


def node(memory: str, name: str = "n1", **spec: Any) -> dict[str, Any]:
    allocatable = {"memory": memory, "cpu": "8", "nvidia.com/gpu": "1"}
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}


def pod_with(*tolerations: dict[str, Any], **asked: str) -> dict[str, Any]:
    pod = copy.deepcopy(POD)
    pod["spec"]["tolerations"] = list(tolerations)
    for kind in ("requests", "limits"):
        pod["spec"]["containers"][0]["resources"][kind] |= {"memory": str(4 * 2**30)} | asked
    return pod


def on_node(name: str) -> dict[str, Any]:
    pod = pod_with()
    pod["spec"]["nodeName"] = name
    return pod


def test_a_shortage_in_figures() -> None:
    found = shortage(pod_with(), SAID, [node("6Gi"), node("64Gi", "n2", unschedulable=True)], [on_node("n1")])
    assert found is not None
    assert found[0] == "It asks for 4 GiB of memory. The roomiest machine has at most 2 GiB free, so 2 GiB are missing."
    assert found[1] == "Choose a size with at most 2 GiB of memory, or stop another environment."
    assert shortage(POD, SAID, [], []) is None
    assert shortage(POD, "node(s) had untolerated taint", [node("6Gi")], []) is None


def test_what_is_free_by_what_we_see_and_not_by_what_others_use() -> None:
    found = shortage(pod_with(), SAID, [node("6Gi")], [])
    assert found is not None
    assert found[0] == "It asks for 4 GiB of memory, and no machine of the cluster has that free now."


def test_processors_and_gpus_in_figures() -> None:
    found = shortage(pod_with(cpu="9500m"), "2 Insufficient cpu.", [node("64Gi")], [])
    assert found is not None
    assert found[0] == "It asks for 9.5 processors. The roomiest machine has at most 8 free, so 1.5 are missing."
    assert found[1] == "Choose a size with at most 8 processors, or stop another environment."
    gpus = pod_with(**{"nvidia.com/gpu": "2"})
    found = shortage(gpus, "2 Insufficient nvidia.com/gpu.", [node("64Gi")], [])
    assert found is not None
    assert found[0] == "It asks for 2 GPUs. The roomiest machine has at most 1 free, so 1 is missing."


@pytest.mark.parametrize("effect", HARD)
def test_a_machine_that_keeps_the_pod_away_is_no_room(effect: str) -> None:
    taint = {"key": "dedicated", "value": "teaching", "effect": effect}
    machines = [node("2Gi"), node("64Gi", "n2", taints=[taint])]
    found = shortage(pod_with(), SAID, machines, [])
    assert found is not None
    assert "at most 2 GiB free, so 2 GiB are missing" in found[0]
    let_in = pod_with({"key": "dedicated", "operator": "Equal", "value": "teaching", "effect": effect})
    found = shortage(let_in, SAID, machines, [])
    assert found is not None
    assert "no machine of the cluster has that free now" in found[0]
    # Where every machine keeps it away there is nothing to count.
    assert shortage(pod_with(), SAID, machines[1:], []) is None


def test_a_machine_that_was_cordoned_off_takes_whoever_brings_what_it_takes() -> None:
    machine = node("64Gi", unschedulable=True)
    assert is_closed(pod_with(), machine)
    assert not is_closed(pod_with({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}), machine)
    assert not is_closed(pod_with({"operator": "Exists"}), machine)


TAINTS = st.fixed_dictionaries(
    {"key": st.sampled_from("ab"), "effect": st.sampled_from(EFFECTS)}, optional={"value": st.sampled_from(("", "x"))}
)
TOLERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(("", "a", "b")),
        "operator": st.sampled_from(("", "Equal", "Exists")),
        "value": st.sampled_from(("", "x")),
        "effect": st.sampled_from(("", *EFFECTS)),
    },
)
Shape = dict[str, str]


@given(TAINTS)
def test_what_names_a_taint_is_let_in_and_what_names_another_is_not(taint: Shape) -> None:
    exact = {"operator": "Equal", "value": ""} | taint
    assert tolerates(exact, taint)
    assert tolerates(exact | {"effect": ""}, taint)
    assert tolerates(exact | {"operator": ""}, taint)
    assert tolerates({"key": taint["key"], "operator": "Exists"}, taint)
    assert tolerates({"operator": "Exists"}, taint)
    assert tolerates({"operator": "Exists", "effect": taint["effect"]}, taint)
    assert not tolerates({"operator": "Equal"}, taint)
    assert not tolerates(exact | {"key": "other"}, taint)
    assert not tolerates(exact | {"value": "other"}, taint)
    assert not tolerates({}, taint)
    for effect in set(EFFECTS) - {taint["effect"]}:
        assert not tolerates(exact | {"effect": effect}, taint)
        assert not tolerates({"operator": "Exists", "effect": effect}, taint)


@given(st.lists(TAINTS, max_size=3), st.lists(TOLERATIONS, max_size=3))
def test_a_machine_is_open_when_each_hard_taint_is_tolerated(taints: list[Shape], brought: list[Shape]) -> None:
    pod = pod_with(*brought)
    hard = [each for each in taints if each["effect"] in HARD]
    assert is_closed(pod, node("6Gi", taints=taints)) is is_closed(pod, node("6Gi", taints=hard))
    closed = [each for each in hard if is_closed(pod, node("6Gi", taints=[each]))]
    assert is_closed(pod, node("6Gi", taints=taints)) is bool(closed)
    # To bring more never closes anything, and what tolerates everything opens everything.
    assert not is_closed(pod_with(*brought, {"operator": "Exists"}), node("6Gi", taints=taints))
    if not hard:
        assert not is_closed(pod_with(), node("6Gi", taints=taints))
    elif not brought:
        assert closed == hard
