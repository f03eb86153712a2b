"""Which launches install, what their installers are told of others, and what follows when a build has gone."""

from __future__ import annotations

import copy
import uuid
from dataclasses import replace
from typing import Any, cast

import pytest

from cmbcluster.domain.sources import Lock
from cmbcluster.runtime.kubernetes import emptying, endings, names, needs, packages
from cmbcluster.runtime.kubernetes.bundles import Bundles
from cmbcluster.runtime.kubernetes.launching import Launcher
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.needs import MOST_TOLD, UNSEEN_SECONDS, Needs
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.port import Packages, Ref, Spec
from tests.runtime.kubernetes.specs import GROUND, OWN_GROUND, packages_spec

EVERYTHING = emptying.EVERYTHING
STARTED = "2026-01-01T00:00:06Z"
READY = "2026-01-01T00:00:09Z"
GONE = "exec: /packages/builds/{key}/bin/python: stat /packages/builds/{key}/bin/python: no such file or directory"


class _Cluster:
    """The pods that there are, and the way to them."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.shared: list[str] = []

    async def pod_or_refuse(self, ref: Ref) -> dict[str, Any] | None:
        return self.pods.get(ref.slug)

    async def make_claim(self, spec: Spec) -> dict[str, Any]:
        return {"metadata": {"name": spec.ref.slug, "uid": "u1"}}

    async def make_shared(self, kind: str, _body: dict[str, Any]) -> None:
        self.shared.append(kind)

    async def make_pod(self, ref: Ref, body: dict[str, Any]) -> None:
        self.pods[ref.slug] = body


class _Clock:
    """Seconds that a test sets, for both clocks."""

    def __init__(self) -> None:
        self.seconds = 100_000.0

    def monotonic(self) -> float:
        return self.seconds

    def time(self) -> float:
        return 1_800_000_000.0 + self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """The clock of what is needed."""
    clock = _Clock()
    monkeypatch.setattr(needs, "time", clock)
    return clock


async def no_words(_pod: dict[str, Any]) -> str:
    """A program that said nothing."""
    return ""


class Platform:
    """A launcher, and a watch that knows what a test tells it."""

    def __init__(self, ground: Ground = GROUND, *, follows: bool = True) -> None:
        self.cluster = _Cluster()
        self.watched: dict[str, dict[str, Any]] = {}
        self.follows = follows
        objects = cast(Objects, self.cluster)
        claim = None if ground.own_packages_bytes else packages.shared_claim(ground.place, 1, "ReadWriteOnce", "")
        made = Bundles(objects, ground.place, ground.workspace_image, claim)
        known = Needs(lambda: list(self.watched.values()) if self.follows else None)
        self.launcher = Launcher(objects, ground, made, known, no_words)

    async def launch(self, slug: str, lock: str) -> dict[str, Any]:
        """The pod that is made."""
        content = cast(Packages, packages_spec().content)
        content = replace(content, lock=Lock(lock, "3.12", 1))
        await self.launcher.start(
            packages_spec(ref=Ref(uuid.uuid5(uuid.NAMESPACE_URL, slug), slug, 1), content=content)
        )
        return self.cluster.pods[slug]

    def sees(self, slug: str, **status: Any) -> dict[str, Any]:
        """The watch tells of a pod."""
        pod = copy.deepcopy(self.cluster.pods[slug])
        pod["status"] = status
        self.watched[slug] = pod
        self.launcher.learn(pod)
        return pod

    def sees_running(self, slug: str, *, ready: bool = True) -> None:
        ready_now = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": READY if ready else "",
        }
        installed = {"name": "packages", "state": {"terminated": {"exitCode": 0}}}
        has_installer = "initContainers" in self.cluster.pods[slug]["spec"]
        self.sees(
            slug, phase="Running", conditions=[ready_now],
            initContainerStatuses=[installed] if has_installer else [],
            containerStatuses=[{"name": "program", "state": {"running": {"startedAt": STARTED}}}],
        )  # fmt: skip

    def sees_gone(self, slug: str) -> None:
        self.launcher.learn(self.watched.pop(slug))


def told(pod: dict[str, Any]) -> str | None:
    """What the pod's installer is told of other builds; None without an installer."""
    for each in pod["spec"].get("initContainers", ()):
        return str({variable["name"]: variable["value"] for variable in each["env"]}["CMB_NEEDED"])
    return None


def key_of(pod: dict[str, Any]) -> str:
    return names.annotations_of(pod)[names.PACKAGES]


def needed(pod: dict[str, Any]) -> dict[str, int]:
    """By the beginning of a build's key, the seconds since it was needed."""
    _, *others = str(told(pod)).split()
    return {beginning: int(seconds) for beginning, seconds in (each.split(":") for each in others)}


def known_as(pod: dict[str, Any]) -> str:
    return key_of(pod)[: emptying.KEY_BEGINNING]


async def test_in_a_shared_volume_the_second_launch_installs_nothing() -> None:
    platform = Platform()
    assert needed(await platform.launch("first", "a")) == {}
    platform.sees_running("first")
    assert told(await platform.launch("second", "a")) is None
    assert platform.cluster.shared == ["persistentvolumeclaims", "configmaps"]


async def test_without_a_shared_volume_every_launch_installs_and_no_claim_is_made() -> None:
    platform = Platform(OWN_GROUND)
    for slug in ("first", "second", "third"):
        pod = await platform.launch(slug, "a")
        assert told(pod) == EVERYTHING
        platform.sees_running(slug)
    assert platform.cluster.shared == ["configmaps"]


async def test_what_a_pod_has_of_its_own_is_not_taken_for_what_is_shared() -> None:
    own, shared = Platform(OWN_GROUND), Platform()
    pod = await own.launch("before", "a")
    shared.cluster.pods["before"] = pod
    shared.sees_running("before")
    assert told(await shared.launch("after", "a")) is not None


@pytest.mark.parametrize("ready", [True, False])
async def test_a_program_that_came_up_without_installing_says_that_its_packages_are_there(ready: bool) -> None:
    """A controller that begins anew has seen no installer, and pods on a warm volume have none."""
    before, after = Platform(), Platform()
    await before.launch("first", "a")
    before.sees_running("first")
    after.cluster.pods["second"] = await before.launch("second", "a")
    after.sees_running("second", ready=ready)
    assert (told(await after.launch("third", "a")) is None) is ready


@pytest.mark.parametrize(("removed", "code"), [(2, 0), (2, 74), (0, 0)])
async def test_when_an_installer_made_room_others_look_again_what_is_there(removed: int, code: int) -> None:
    platform = Platform()
    await platform.launch("first", "a")
    platform.sees_running("first")
    await platform.launch("large", "b")
    said = {"terminated": {"exitCode": code, "message": f'{{"removed": {removed}}}'}}
    platform.sees("large", phase="Pending", initContainerStatuses=[{"name": "packages", "state": said}])
    assert (told(await platform.launch("second", "a")) is None) is (removed == 0)
    platform.sees_running("second")
    assert told(await platform.launch("third", "a")) is None


async def test_a_build_that_was_removed_under_a_launch_is_installed_by_the_next() -> None:
    platform = Platform()
    await platform.launch("first", "a")
    platform.sees_running("first")
    pod = await platform.launch("second", "a")
    assert told(pod) is None
    said = GONE.format(key=key_of(pod))
    failed = {"reason": "StartError", "exitCode": 128, "message": said, "startedAt": STARTED, "finishedAt": STARTED}
    seen = platform.sees(
        "second", phase="Failed", containerStatuses=[{"name": "program", "state": {"terminated": failed}}]
    )
    ending = endings.of_pod(seen, "")
    assert ending.what == "Its packages are not in the cluster's volume any more."
    assert ending.then == "Start it again: they are installed anew."
    assert told(await platform.launch("third", "a")) is not None


async def test_an_installer_is_told_of_running_pods_of_launches_and_of_what_was_needed_of_late(clock: _Clock) -> None:
    platform = Platform()
    running, ended = await platform.launch("running", "a"), await platform.launch("ended", "b")
    platform.sees_running("running")
    platform.sees_running("ended")
    clock.seconds += 100
    platform.sees("ended", phase="Succeeded")
    launching = await platform.launch("launching", "c")
    assert needed(launching) == {known_as(running): 0, known_as(ended): 100}
    clock.seconds += 200
    pod = await platform.launch("new", "d")
    assert str(told(pod)).split()[0] == str(round(clock.time()))
    assert needed(pod) == {known_as(running): 0, known_as(launching): 0, known_as(ended): 300}
    # A pod that never came is not waited for for ever, and what was needed long ago is not spoken of.
    clock.seconds += UNSEEN_SECONDS + 1
    assert needed(await platform.launch("newer", "e"))[known_as(launching)] == UNSEEN_SECONDS + 1
    clock.seconds += 25 * 3600
    assert needed(await platform.launch("newest", "f")) == {known_as(running): 0}


async def test_while_the_watch_does_not_follow_everything_counts_as_needed() -> None:
    platform = Platform(follows=False)
    assert told(await platform.launch("first", "a")) == EVERYTHING
    platform.sees_running("first")
    # Who is under way is not known either, so the build there has to be marked as used.
    assert told(await platform.launch("second", "a")) == EVERYTHING


async def test_with_more_builds_in_use_than_can_be_told_everything_counts_as_needed() -> None:
    platform = Platform()
    pod = await platform.launch("first", "a")
    for number in range(MOST_TOLD + 1):
        other = copy.deepcopy(pod)
        other["metadata"]["annotations"][names.PACKAGES] = f"{number:040x}"
        other["status"] = {"phase": "Running"}
        platform.watched[f"p{number}"] = other
    assert told(await platform.launch("second", "b")) == EVERYTHING


async def test_what_installers_are_told_is_bounded(clock: _Clock) -> None:
    platform = Platform()
    pod = await platform.launch("first", "a")
    for number in range(3 * MOST_TOLD):
        other = copy.deepcopy(pod)
        other["metadata"]["annotations"][names.PACKAGES] = f"{number:040x}"[::-1]
        platform.launcher.learn(other)
        clock.seconds += 1
    said = str(told(await platform.launch("second", "b")))
    assert len(said.split()) == MOST_TOLD + 1
    assert len(said) < 20_000
    assert max(needed(platform.cluster.pods["second"]).values()) < MOST_TOLD + 2


async def test_while_an_installer_may_remove_what_it_was_not_told_of_every_launch_leaves_a_sign(clock: _Clock) -> None:
    platform = Platform()
    await platform.launch("first", "a")
    platform.sees_running("first")
    platform.sees_gone("first")
    await platform.launch("builds", "b")
    # Not seen yet, then waiting, then at work.
    assert told(await platform.launch("second", "a")) == EVERYTHING
    platform.sees("builds", phase="Pending")
    assert told(await platform.launch("third", "a")) == EVERYTHING
    platform.sees("builds", phase="Pending", initContainerStatuses=[{"name": "packages", "state": {"running": {}}}])
    assert told(await platform.launch("fourth", "a")) == EVERYTHING
    # Those that only leave a sign remove nothing, so no other launch needs one because of them.
    done = [{"name": "packages", "state": {"terminated": {"exitCode": 0}}}]
    platform.sees("builds", phase="Pending", initContainerStatuses=done)
    assert told(await platform.launch("fifth", "a")) is None
    await platform.launch("builds-more", "c")
    platform.sees("builds-more", phase="Pending")
    assert told(await platform.launch("sixth", "a")) == EVERYTHING
    platform.sees("builds-more", phase="Running")
    assert told(await platform.launch("seventh", "a")) is None
