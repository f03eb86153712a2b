"""What this process believes about shared config maps, while others make and delete them too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from cmbcluster.runtime.kubernetes import bundles, names, packages
from cmbcluster.runtime.kubernetes.bundles import AWAY_SECONDS, Bundles
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.port import Packages
from tests.runtime.kubernetes.specs import GROUND, packages_spec

DAY_SECONDS = 24 * 3600.0
CONTENT = cast(Packages, packages_spec().content)
BUNDLE = packages.bundle_of(CONTENT, GROUND.workspace_image)
OLD = "2026-01-01T00:00:00Z"


class _Cluster:
    """The objects that there are."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, Any]] = {}
        self.live: list[dict[str, Any]] = []
        self.lists = 0

    def plant(self, name: str, made_at: str = OLD) -> None:
        self.maps[name] = {"metadata": {"name": name, "uid": f"u-{name}", "creationTimestamp": made_at}}

    async def make_shared(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "configmaps":
            self.plant(body["metadata"]["name"])

    async def config_maps(self) -> list[dict[str, Any]]:
        return list(self.maps.values())

    async def pods(self) -> list[dict[str, Any]]:
        self.lists += 1
        return self.live

    async def remove_config_map(self, name: str, uid: str) -> None:
        assert self.maps.pop(name)["metadata"]["uid"] == uid


class _Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """The clock that bundles are measured by."""
    clock = _Clock()
    monkeypatch.setattr(bundles, "time", clock)
    return clock


def pod_with(name: str) -> dict[str, Any]:
    return {"metadata": {"name": "env-a"}, "spec": {"volumes": [{"name": "b", "configMap": {"name": name}}]}}


def opened(cluster: _Cluster) -> Bundles:
    return Bundles(cast(Objects, cluster), GROUND.place, GROUND.workspace_image, {}, DAY_SECONDS)


async def passes(made: Bundles, clock: _Clock, seconds: float) -> None:
    """Time passes, and the controller clears in its rhythm."""
    until = clock.seconds + seconds
    while clock.seconds < until:
        clock.seconds = min(until, clock.seconds + AWAY_SECONDS / 2)
        await made.clear([])


async def test_what_somebody_else_deleted_is_made_again(clock: _Clock) -> None:
    cluster = _Cluster()
    made = opened(cluster)
    await made.make(CONTENT)
    cluster.maps.clear()
    await made.clear([])
    await made.make(CONTENT)
    assert set(cluster.maps) == {BUNDLE.name}
    # Before anybody clears, a launch that was given up for want of it is as good a sign.
    cluster.maps.clear()
    made.doubt(BUNDLE.key)
    await made.make(CONTENT)
    assert set(cluster.maps) == {BUNDLE.name}


async def test_one_that_was_made_of_late_stays_whoever_made_it(clock: _Clock) -> None:
    cluster = _Cluster()
    made = opened(cluster)
    cluster.plant("packages-young", datetime.now(UTC).isoformat())
    cluster.plant("packages-old")
    await made.clear([])
    await passes(made, clock, DAY_SECONDS)
    assert set(cluster.maps) == {"packages-young"}


async def test_pods_that_no_watch_knows_yet_keep_theirs_and_are_listed_only_for_a_deletion(clock: _Clock) -> None:
    cluster = _Cluster()
    made = opened(cluster)
    cluster.plant("packages-old")
    cluster.live = [pod_with("packages-old")]
    assert names.config_maps_of(cluster.live[0]) == ("packages-old",)
    await made.clear([])
    await passes(made, clock, DAY_SECONDS - 1)
    assert cluster.lists == 0
    await passes(made, clock, 1)
    assert (set(cluster.maps), cluster.lists) == ({"packages-old"}, 1)


async def test_who_was_away_begins_to_count_anew(clock: _Clock) -> None:
    cluster = _Cluster()
    made = opened(cluster)
    await made.make(CONTENT)
    await made.clear([])
    # Another controller led for two days and used it all the time.
    clock.seconds += 2 * DAY_SECONDS
    await made.clear([])
    assert set(cluster.maps) == {BUNDLE.name}
    await passes(made, clock, DAY_SECONDS)
    assert cluster.maps == {}
