"""Bringing a launch that cannot succeed to its end, and launches that the cluster met differently than we made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes import manifests
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Place
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Observation, Sight, Spec
from tests.kubernetes.cluster import Admin, end_all, settings_for, until_true, wanted

Change = Callable[[dict[str, Any]], object]


async def given_up(runtime: KubernetesRuntime, admin: Admin, spec: Spec, seconds: float = 60) -> Observation:
    """Start it as the controller does, until it is given up; nothing of it may run afterwards."""

    async def is_over() -> Observation | None:
        seen = await runtime.look(spec.ref)
        if seen.sight is Sight.ABSENT:
            try:
                await runtime.start(spec)
            except RuntimeUnavailable:
                return None
        return seen if seen.sight is Sight.EXITED else None

    seen: Observation = await until_true(is_over, seconds)
    assert seen.ending is not None
    assert seen.ending.what
    assert seen.ending.then
    pod = await admin.pod(spec.ref.slug)
    assert pod is None or pod["status"]["phase"] == "Failed"
    await end_all(runtime, admin, spec.ref)
    assert (await runtime.look(spec.ref)).sight is Sight.ABSENT
    return seen


def ground_of(admin: Admin) -> Ground:
    """What the runtime of a test's namespace makes objects from."""
    settings = settings_for(admin.namespace)
    return Ground(Place(admin.namespace, settings.instance), wanted("CMB_TEST_WORKSPACE_IMAGE"))


def unchanged(_: dict[str, Any]) -> None:
    """The object as we make it."""


async def plant_claim(admin: Admin, spec: Spec, change: Change = unchanged) -> dict[str, Any]:
    """The workspace of a launch, somewhat different."""
    claim = manifests.claim(ground_of(admin), spec)
    change(claim)
    return await admin.create("persistentvolumeclaims", claim)


async def plant(admin: Admin, spec: Spec, change: Change = unchanged) -> None:
    """A launch without its secret and without packages, its pod somewhat different."""
    await plant_claim(admin, spec)
    pod = manifests.pod(ground_of(admin), spec, None)
    change(pod)
    await admin.create("pods", pod)


def ask_differently(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """From now on the runtime asks for pods that are somewhat different."""
    make = manifests.pod

    def made(*words: Any, **more: Any) -> dict[str, Any]:
        pod = make(*words, **more)
        change(pod)
        return pod

    monkeypatch.setattr(manifests, "pod", made)
