"""What is told of a pod in every state a cluster can show, without a cluster."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cmbcluster.domain.lifecycle import Stage, StopReason
from cmbcluster.runtime.kubernetes import endings, hopeless, manifests, memory, packages, seeing
from cmbcluster.runtime.kubernetes.ending_rules import DISRUPTIONS
from cmbcluster.runtime.kubernetes.happenings import Happenings
from cmbcluster.runtime.kubernetes.quantities import amount
from cmbcluster.runtime.kubernetes.usage import usage_of
from cmbcluster.runtime.port import Ending, Packages, Sight
from tests.runtime.kubernetes.specs import GROUND, OWN_GROUND, packages_spec

PRESENT = 'Container image "a:1" already present on machine'
SPEC = packages_spec()
assert isinstance(SPEC.content, Packages)
POD = manifests.pod(GROUND, SPEC, packages.bundle_of(SPEC.content, GROUND.workspace_image))
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: int) -> str:
    return (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def made(phase: str, **status: Any) -> dict[str, Any]:
    """A pod of the cluster in a phase."""
    pod = copy.deepcopy(POD)
    pod["metadata"] |= {"uid": "u1", "creationTimestamp": at(0), "resourceVersion": "1"}
    pod["status"] = {"phase": phase, **status}
    return pod


def conditions(scheduled: bool = True, ready: bool = False, ready_at: int = 0) -> list[dict[str, Any]]:
    return [
        {"type": "PodScheduled", "status": "True" if scheduled else "False", "lastTransitionTime": at(1)},
        {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": at(ready_at)},
    ]


def container(name: str, ready: bool = False, **state: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "state": state}


INSTALLED = [container("packages", terminated={"exitCode": 0, "startedAt": at(2), "finishedAt": at(5)})]


def running(*, ready: bool, container_ready: bool | None = None, ready_at: int = 0) -> dict[str, Any]:
    program = container("program", ready if container_ready is None else container_ready, running={"startedAt": at(6)})
    return made(
        "Running", podIP="10.0.0.7", conditions=conditions(ready=ready, ready_at=ready_at),
        initContainerStatuses=INSTALLED, containerStatuses=[program],
    )  # fmt: skip


def ended(ready_at: int = 0, **state: Any) -> dict[str, Any]:
    state = {"startedAt": at(6), "finishedAt": at(200), "exitCode": 1} | state
    return made(
        "Failed", conditions=conditions(ready_at=ready_at), initContainerStatuses=INSTALLED,
        containerStatuses=[container("program", terminated=state)],
    )  # fmt: skip


def test_a_ready_pod_runs_at_its_address_with_all_stages() -> None:
    seen = seeing.observation_of(running(ready=True, ready_at=9), SPEC.ref)
    assert seen.sight is Sight.RUNNING
    assert seen.endpoint is not None
    assert (seen.endpoint.host, seen.endpoint.port) == ("10.0.0.7", 8888)
    assert [(mark.stage, mark.ended_at is not None) for mark in seen.stages] == [
        (Stage.SCHEDULING, True), (Stage.INSTALLING, True), (Stage.STARTING, True), (Stage.PORT, True),
    ]  # fmt: skip
    assert seen.stages[-1].ended_at == T0 + timedelta(seconds=9)


def test_a_pod_whose_node_is_silent_is_unknown_and_never_dead() -> None:
    silent = running(ready=False, container_ready=True, ready_at=90)
    assert seeing.observation_of(silent, SPEC.ref).sight is Sight.UNKNOWN
    assert seeing.observation_of(made("Unknown"), SPEC.ref).sight is Sight.UNKNOWN


@pytest.mark.parametrize(
    ("pod", "sight"),
    [
        (made("Pending", conditions=conditions(scheduled=False)), Sight.BUILDING),
        (made("Pending", conditions=conditions()), Sight.BUILDING),
        (made("Pending"), Sight.BUILDING),
        (running(ready=False), Sight.STARTING),
        (made("Succeeded"), Sight.EXITED),
    ],
)
def test_sights_on_the_way(pod: dict[str, Any], sight: Sight) -> None:
    assert seeing.observation_of(pod, SPEC.ref).sight is sight
    pod["metadata"]["deletionTimestamp"] = at(9)
    assert seeing.observation_of(pod, SPEC.ref).sight is Sight.STOPPING


def with_own_packages(pod: dict[str, Any]) -> dict[str, Any]:
    """The same where environments share no volume of packages."""
    assert isinstance(SPEC.content, Packages)
    own = manifests.pod(OWN_GROUND, SPEC, packages.bundle_of(SPEC.content, GROUND.workspace_image))
    return {**pod, "spec": own["spec"]}


FULL_VOLUME = made(
    "Failed", conditions=conditions(), containerStatuses=[container("program", waiting={})],
    initContainerStatuses=[
        container("packages", terminated={"exitCode": 74, "startedAt": at(2), "finishedAt": at(5)})
    ],
)  # fmt: skip
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": at(50)}


NO_SUCH_PROGRAM = 'runc: exec: "wat": executable file not found in $PATH: unknown'


@pytest.mark.parametrize(
    ("pod", "reason", "says"),
    [
        (ended(exitCode=3), StopReason.EXITED, "exit code 3 before it answered"),
        (ended(exitCode=3, ready_at=201), StopReason.EXITED, "exit code 3."),
        (ended(reason="OOMKilled", exitCode=137), StopReason.MEMORY, "more than 4 GiB"),
        (ended(exitCode=137), StopReason.NEVER_READY, "nothing answered on port 8888 within 1 min 30 s"),
        (ended(exitCode=143, finishedAt=at(20)), StopReason.EXITED, "SIGTERM before it answered"),
        (
            ended(reason="StartError", exitCode=128, message=NO_SUCH_PROGRAM),
            StopReason.START_FAILED, "“wat” could not be started: executable file not found in $PATH",
        ),
        (
            ended(reason="StartError", exitCode=128, message='exec: "/x": exec format error: unknown'),
            StopReason.IMAGE_PLATFORM, "another kind of processor",
        ),
        (
            made("Failed", reason="Evicted", message="Pod ephemeral local storage usage exceeds the total limit"),
            StopReason.DISK_FULL, "outside of its workspace",
        ),
        (
            made("Failed", reason="Evicted", message="The node was low on resource: memory.",
                 conditions=[DISRUPTED | {"reason": "TerminationByKubelet"}]),
            StopReason.EVICTED, "ran short",
        ),
        (
            # What its node was short of is not its own doing, and one that exceeds its request is only chosen first.
            made("Failed", reason="Evicted", conditions=[DISRUPTED | {"reason": "TerminationByKubelet"}],
                 message="The node was low on resource: ephemeral-storage. Container program was using 4Gi, "
                         "which exceeds its request of 1Gi."),
            StopReason.EVICTED, "ran short",
        ),
        (
            made("Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage."),
            StopReason.EVICTED, "ran short",
        ),
        (
            made("Failed", reason="Evicted", conditions=[DISRUPTED | {"reason": "TerminationByKubelet"}],
                 message='Usage of EmptyDir volume "tmp" exceeds the limit "1Gi".'),
            StopReason.DISK_FULL, "outside of its workspace",
        ),
        (
            made("Failed", reason="Evicted", message="Container program exceeded its local ephemeral storage limit"),
            StopReason.DISK_FULL, "outside of its workspace",
        ),
        (made("Failed", reason="OutOfcpu", message="Node didn't have enough"), StopReason.NO_ROOM, "OutOfcpu"),
        (
            with_own_packages(made("Failed", reason="Evicted",
                                   message='Usage of EmptyDir volume "packages" exceeds the limit "8Gi". ')),
            StopReason.DISK_FULL, "packages take more than the 8 GiB",
        ),
        (FULL_VOLUME, StopReason.DISK_FULL, "The cluster's volume of packages is full"),
        (with_own_packages(FULL_VOLUME), StopReason.DISK_FULL, "no space left for its packages"),
    ],
)  # fmt: skip
def test_endings_in_words(pod: dict[str, Any], reason: StopReason, says: str) -> None:
    ending = endings.of_pod(pod, "last words")
    assert ending.reason is reason
    assert says in ending.what
    assert ending.then
    assert ending.ended_at is not None


@pytest.mark.parametrize("why", DISRUPTIONS)
def test_what_the_cluster_took_away_says_why(why: str) -> None:
    pod = running(ready=True)
    pod["status"]["conditions"].append(DISRUPTED | {"reason": why})
    assert endings.of_deletion(pod).rule == DISRUPTIONS[why]
    assert endings.of_deletion(pod).reason is not StopReason.TAKEN_AWAY
    deleted = endings.of_deletion(running(ready=True))
    assert (deleted.rule, deleted.reason) == ("taken-away", StopReason.TAKEN_AWAY)


@pytest.mark.parametrize(
    ("terminated", "reason"),
    [
        ({"exitCode": 71, "message": '{"has": "3.11"}'}, StopReason.PYTHON_MISSING),
        ({"exitCode": 72}, StopReason.BUILD_FAILED),
        ({"exitCode": 73}, StopReason.BUILD_FAILED),
        ({"exitCode": 137, "reason": "OOMKilled"}, StopReason.MEMORY),
    ],
)
def test_an_installation_that_failed(terminated: dict[str, Any], reason: StopReason) -> None:
    pod = made("Failed", conditions=conditions(), initContainerStatuses=[container("packages", terminated=terminated)])
    assert endings.of_pod(pod, "").reason is reason


def test_what_failed_is_the_installation_and_nothing_after_it() -> None:
    terminated = {"exitCode": 73, "startedAt": at(2), "finishedAt": at(5)}
    waiting = [container("program", waiting={"reason": "PodInitializing"})]
    pod = made(
        "Failed",
        conditions=conditions(),
        initContainerStatuses=[container("packages", terminated=terminated)],
        containerStatuses=waiting,
    )
    marks = seeing.observation_of(pod, SPEC.ref).stages
    assert [(mark.stage, mark.failed) for mark in marks] == [(Stage.SCHEDULING, False), (Stage.INSTALLING, True)]


def test_an_installation_that_goes_on_says_how_much_and_counts_nothing_it_cannot_see() -> None:
    pod = made(
        "Pending",
        conditions=conditions(),
        initContainerStatuses=[container("packages", running={"startedAt": at(2)})],
        containerStatuses=[container("program", waiting={"reason": "PodInitializing"})],
    )
    mark = seeing.observation_of(pod, SPEC.ref).stages[-1]
    assert (mark.stage, mark.done, mark.total, mark.detail) == (Stage.INSTALLING, 0, None, "1 package")


KEPT = "cmbcluster.io/ended-7"


def test_endings_are_remembered_for_three_runs_and_forgotten_on_demand() -> None:
    claim: dict[str, Any] = {"metadata": {"annotations": {"other": "stays"}}}
    for run in range(1, 8):
        kept = memory.note(claim, run, Ending(StopReason.ASKED, f"run {run}", "then", "log", 3, T0))
        for name, text in kept["metadata"]["annotations"].items():
            if text is None:
                claim["metadata"]["annotations"].pop(name, None)
            else:
                claim["metadata"]["annotations"][name] = text
    assert set(memory.endings(claim)) == {5, 6, 7}
    assert [memory.endings(claim)[run].log_tail for run in (5, 6, 7)] == ["", "", "log"]
    assert memory.endings(claim)[7] == Ending(StopReason.ASKED, "run 7", "then", "log", 3, T0)
    change = memory.forget(claim)
    assert change is not None
    assert set(change["metadata"]["annotations"].values()) == {None}
    assert "other" not in change["metadata"]["annotations"]
    for number, text in enumerate(("written by hand", "[]", "null", '"x"', "[" * 100_000), 9):
        claim["metadata"]["annotations"][f"cmbcluster.io/ended-{number}"] = text
    claim["metadata"]["annotations"][f"cmbcluster.io/ended-{'9' * 12}"] = claim["metadata"]["annotations"][KEPT]
    assert set(memory.endings(claim)) == {5, 6, 7}


def test_what_is_remembered_never_grows_with_what_programs_print() -> None:
    """Runs that ended by themselves are not noted, so that there are gaps; an object takes 256 KiB of annotations."""
    claim: dict[str, Any] = {"metadata": {"annotations": {}}}
    for run in (1, 2, 3, 9, 10, 11, 40, 80):
        ending = Ending(StopReason.ASKED, "It was stopped.", "then", "\N{GRINNING FACE}" * 4000, None, T0)
        for name, text in memory.note(claim, run, ending)["metadata"]["annotations"].items():
            if text is None:
                claim["metadata"]["annotations"].pop(name, None)
            else:
                claim["metadata"]["annotations"][name] = text
        assert sum(len(text.encode()) for text in claim["metadata"]["annotations"].values()) < 8_000
    assert set(memory.endings(claim)) == {11, 40, 80}


def test_events_give_a_pull_its_size_and_a_claim_its_trouble() -> None:
    heard, pod = Happenings(), made("Pending")
    about = {"kind": "Pod", "uid": "u1", "name": pod["metadata"]["name"]}
    event = {"metadata": {}, "involvedObject": about, "reason": "Pulling", "message": 'Pulling image "a:1"'}
    assert heard.hear(event | {"lastTimestamp": at(3)}) == pod["metadata"]["name"]
    pulled = 'Successfully pulled image "a:1" in 1m2.5s (1m3s including waiting). Image size: 12345 bytes.'
    heard.hear(event | {"reason": "Pulled", "message": pulled, "lastTimestamp": at(65)})
    pull = heard.pull(pod)
    assert pull is not None
    assert (pull.began_at, pull.ended_at, pull.size_bytes) == (
        T0 + timedelta(seconds=3), T0 + timedelta(seconds=65), 12345,
    )  # fmt: skip
    # The next container of the same pod finds what was brought for the first one.
    heard.hear(event | {"reason": "Pulled", "message": PRESENT, "lastTimestamp": at(66)})
    assert heard.pull(pod) == pull
    claim = {"kind": "PersistentVolumeClaim", "uid": "u2", "name": f"workspace-{SPEC.ref.slug}"}
    wrong = {"metadata": {}, "involvedObject": claim, "reason": "ProvisioningFailed", "message": "no such class"}
    heard.hear(wrong | {"firstTimestamp": at(4), "lastTimestamp": at(70)})
    verdict = hopeless.of_pod(made("Pending", conditions=conditions(scheduled=False)), heard.warnings(pod))
    assert verdict is not None
    assert verdict.reason is StopReason.VOLUME
    assert not verdict.is_final(T0 + timedelta(seconds=30))
    assert verdict.is_final(T0 + timedelta(seconds=64))


@pytest.mark.parametrize("reason", ["FailedMount", "FailedCreatePodSandBox"])
def test_what_was_in_the_way_before_an_image_is_brought_ends_no_launch(reason: str) -> None:
    heard = Happenings()
    waits = container("program", waiting={"reason": "ContainerCreating"})
    pod = made("Pending", conditions=conditions(), containerStatuses=[waits])
    about = {"kind": "Pod", "uid": "u1", "name": pod["metadata"]["name"]}
    heard.hear({"metadata": {}, "involvedObject": about, "reason": reason, "message": "x", "lastTimestamp": at(2)})
    verdict = hopeless.of_pod(pod, heard.warnings(pod))
    assert verdict is not None
    assert verdict.is_final(T0 + timedelta(seconds=200))
    pod["status"]["conditions"].append({"type": "PodReadyToStartContainers", "status": "True"})
    assert hopeless.of_pod(pod, heard.warnings(pod)) is None


def test_a_node_that_has_the_image_says_so_and_brings_nothing() -> None:
    heard = Happenings()
    pod = made("Pending", conditions=conditions(scheduled=True))
    pod["spec"]["nodeName"] = "n1"
    about = {"kind": "Pod", "uid": "u1", "name": pod["metadata"]["name"]}
    before = seeing.observation_of(pod, SPEC.ref, pull=heard.pull(pod)).stages
    assert before[0].detail == "on n1"
    event = {"metadata": {}, "involvedObject": about, "reason": "Pulled", "message": PRESENT}
    heard.hear(event | {"lastTimestamp": at(3)})
    after = seeing.observation_of(pod, SPEC.ref, pull=heard.pull(pod)).stages
    assert after[0].detail == "on n1, which has the image"
    assert Stage.DOWNLOADING not in [mark.stage for mark in after]


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("12345678n", 0.012345678), ("512Mi", 512 * 2**20), ("2", 2), ("x", None)]
)
def test_quantities(text: str, value: float | None) -> None:
    assert amount(text) == (pytest.approx(value) if value is not None else None)


def test_usage_is_the_sum_of_what_was_measured_or_nothing() -> None:
    used = [{"usage": {"cpu": "12345678n", "memory": "2048Ki"}}, {"usage": {"cpu": "1m", "memory": "1Mi"}}]
    usage = usage_of({"timestamp": at(7), "containers": used})
    assert (usage.measured_at, usage.cpu_millis, usage.memory_bytes) == (T0 + timedelta(seconds=7), 13.3, 3 * 2**20)
    assert usage.processes is None
    nothing: dict[str, Any] | None
    for nothing in (None, {"containers": []}):
        assert (usage_of(nothing).cpu_millis, usage_of(nothing).memory_bytes) == (None, None)


def test_a_namespace_made_a_moment_ago_gets_its_service_account_before_a_launch_is_given_up() -> None:
    said = 'pods "env-a" is forbidden: error looking up service account lab/default: serviceaccount "default" not found'
    verdict = hopeless.of_refusal(said, T0)
    assert not verdict.is_final(T0 + timedelta(seconds=20), 1.0)
    assert verdict.is_final(T0 + timedelta(seconds=40), 1.0)


@pytest.mark.parametrize(
    ("pod", "after_seconds", "is_given_up"),
    [
        (running(ready=False), 91, False),
        (running(ready=False), 6 + 90 + endings.SILENCE_SECONDS + 1, True),
        (running(ready=False, ready_at=30), 6 + 90 + endings.SILENCE_SECONDS + 1, False),
        (running(ready=True), 100_000, False),
        (running(ready=False, container_ready=True), 100_000, False),
    ],
)
def test_what_answered_its_node_once_and_never_got_ready_is_given_up(
    pod: dict[str, Any], after_seconds: int, is_given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, _zone: object = None) -> datetime:  # type: ignore[override]
            return T0 + timedelta(seconds=after_seconds)

    monkeypatch.setattr(endings, "datetime", Clock)
    verdict = endings.verdict(pod, seeing.sight_of(pod), (), 60)
    assert (verdict is not None) is is_given_up
    if verdict is not None:
        assert verdict.is_final(Clock.now())
        assert verdict.reason is StopReason.NEVER_READY
        assert verdict.what == "It started, but nothing answered on port 8888 within 1 min 30 s."


def test_what_ran_on_a_node_that_vanished_ended_with_it_and_not_with_its_installation() -> None:
    pod = running(ready=True)
    pod["status"]["phase"] = "Failed"
    assert (datetime.now(UTC) - (endings.of_pod(pod, "").ended_at or T0)).total_seconds() < 60
    assert endings.of_pod(pod, "").exit_code is None
    pod["status"]["conditions"].append(DISRUPTED | {"reason": "DeletionByPodGC"})
    ending = endings.of_pod(pod, "")
    assert (ending.reason, ending.ended_at) == (StopReason.NODE_LOST, T0 + timedelta(seconds=50))


def test_a_failed_installation_ended_when_its_own_container_did() -> None:
    terminated = {"exitCode": 73, "startedAt": at(2), "finishedAt": at(5)}
    waiting = [container("program", waiting={"reason": "PodInitializing"})]
    installers = [container("packages", terminated=terminated)]
    pod = made("Failed", conditions=conditions(), initContainerStatuses=installers, containerStatuses=waiting)
    ending = endings.of_pod(pod, "")
    assert (ending.exit_code, ending.ended_at) == (73, T0 + timedelta(seconds=5))
