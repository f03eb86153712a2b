"""Which rule speaks for a pod that is over, and in what order they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from cmbcluster.runtime.kubernetes import endings
from cmbcluster.runtime.kubernetes.ending_rules import DISRUPTIONS, RULES
from tests.runtime.kubernetes.test_seeing import (
    DISRUPTED,
    at,
    conditions,
    container,
    ended,
    made,
    running,
    with_own_packages,
)

EVICTED = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."
LARGE_PACKAGES = 'Usage of EmptyDir volume "packages" exceeds the limit "8Gi". '
GONE = (
    'runc: exec: "/packages/builds/ab12/bin/python": stat /packages/builds/ab12/bin/python: no such file or directory'
)


def disrupted(why: str, **status: Any) -> dict[str, Any]:
    return made("Failed", conditions=[*conditions(), DISRUPTED | {"reason": why}], **status)


def installing(**terminated: Any) -> dict[str, Any]:
    state = {"exitCode": 73, "startedAt": at(2), "finishedAt": at(5)} | terminated
    return made("Failed", conditions=conditions(), initContainerStatuses=[container("packages", terminated=state)])


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("own-packages", with_own_packages(made("Failed", reason="Evicted", message=LARGE_PACKAGES)), ""),
    ("own-storage", made("Failed", reason="Evicted", message=EVICTED), ""),
    # Its own limit counts, whatever else the kubelet says.
    ("own-storage", disrupted("TerminationByKubelet", reason="Evicted", message=EVICTED), ""),
    *((name, disrupted(why), "") for why, name in DISRUPTIONS.items()),
    ("node-short", made("Failed", reason="Evicted", message="The node was low on resource: memory."), ""),
    ("node-refused", made("Failed", reason="OutOfmemory"), ""),
    ("install-memory", installing(reason="OOMKilled", exitCode=137), ""),
    ("install-python", installing(exitCode=71), ""),
    ("install-image", installing(exitCode=72), ""),
    ("install-image", installing(exitCode=128, reason="StartError"), ""),
    ("install-machine-full", with_own_packages(installing(exitCode=74)), ""),
    ("install-volume-full", installing(exitCode=74), ""),
    ("install-failed", installing(), "Hash mismatch for `idna==3.10`"),
    ("lost", made("Failed", conditions=conditions()), ""),
    ("memory", ended(reason="OOMKilled", exitCode=137), ""),
    ("packages-gone", ended(reason="StartError", exitCode=128, message=GONE), ""),
    ("program-platform", ended(reason="StartError", exitCode=128, message='exec: "/x": exec format error'), ""),
    # As runc says it that began it already.
    ("program-platform", ended(exitCode=1), "exec /foreign: exec format error\n"),
    (
        "program-platform",
        ended(exitCode=1),
        "standard_init_linux.go:228: exec user process caused: exec format error",
    ),
    ("exited", ended(exitCode=1), "said\nexec /foreign: exec format error\n"),
    ("program-named", ended(reason="StartError", exitCode=128, message='exec: "wat": not found: unknown'), ""),
    ("program-not-started", ended(reason="ContainerCannotRun", exitCode=128, message="no space"), ""),
    ("never-ready", ended(exitCode=137), ""),
    # It had answered, or ended too early, or by itself.
    ("exited", ended(ready_at=30, exitCode=137), "said"),
    ("exited", ended(finishedAt=at(50), exitCode=137), "said"),
    ("exited", ended(exitCode=3), "said"),
    ("exited-silently", ended(exitCode=3), " \n"),
]


@pytest.mark.parametrize(("name", "pod", "tail"), CASES, ids=[f"{n}-{name}" for n, (name, _, _) in enumerate(CASES)])
def test_each_rule_speaks_for_its_pods(name: str, pod: dict[str, Any], tail: str) -> None:
    ending = endings.of_pod(pod, tail)
    assert ending.rule == name
    assert ending.what.endswith(".")
    assert ending.then.endswith(".")


def test_every_rule_has_such_a_pod() -> None:
    assert {name for name, _, _ in CASES} == {rule.name for rule in RULES}


def test_what_goes_on_ends_by_no_rule_unless_the_cluster_takes_it_away() -> None:
    pod = running(ready=True)
    assert endings.of_disruption(pod) is None
    pod["status"]["conditions"].append(DISRUPTED | {"reason": "SomebodyElse"})
    assert endings.of_disruption(pod) is None
    pod["status"]["conditions"][-1]["reason"] = "EvictionByEvictionAPI"
    found = endings.of_disruption(pod)
    assert found is not None
    assert found.rule == "drained"
