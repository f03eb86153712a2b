"""Launches that cannot succeed, on the real cluster: each is given up with a sentence and a next step."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Lock
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Placement, Sight
from tests.kubernetes.cluster import Admin, opened, settings_for, spec_of
from tests.kubernetes.hopeless import given_up
from tests.runtime.place import python

pytestmark = pytest.mark.kubernetes
GIB = 1024**3


@pytest.fixture
async def runtime(namespace: str) -> AsyncIterator[KubernetesRuntime]:
    """A runtime with a tenth of the usual patience."""
    async with opened(settings_for(namespace), patience=0.05) as runtime:
        yield runtime


@pytest.mark.hopeless("short-of")
async def test_too_much_memory_says_what_is_missing_and_what_would_fit(
    runtime: KubernetesRuntime, admin: Admin
) -> None:
    seen = await given_up(runtime, admin, spec_of("too-large", memory_bytes=900 * GIB))
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.NO_ROOM
    assert seen.ending.what.startswith("It asks for 900 GiB of memory. The roomiest machine has at most ")
    assert "are missing" in seen.ending.what
    assert "Choose a size with at most" in seen.ending.then
    assert "Insufficient memory" in seen.ending.log_tail


@pytest.mark.hopeless("no-such-machine")
async def test_a_kind_of_machine_that_is_not_there(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = replace(spec_of("no-gpu-node"), placement=Placement(node_selector=(("pool", "gpu"),)))
    seen = await given_up(runtime, admin, spec)
    assert seen.ending is not None
    assert seen.ending.what == "The cluster has no machine of the kind this application asks for."


@pytest.mark.hopeless("short-of")
async def test_a_gpu_that_nobody_has(runtime: KubernetesRuntime, admin: Admin) -> None:
    seen = await given_up(runtime, admin, replace(spec_of("no-gpu"), placement=Placement(gpus=1)))
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.NO_ROOM
    assert seen.ending.what == "It asks for 1 GPU. The roomiest machine has at most 0 free, so 1 is missing."


@pytest.mark.hopeless("volume-not-made")
async def test_a_volume_that_nobody_makes(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = replace(spec_of("no-volume"), placement=Placement(storage_class="nobody-makes-these"))
    seen = await given_up(runtime, admin, spec)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.VOLUME


@pytest.mark.hopeless("no-such-class")
async def test_a_priority_that_does_not_exist_is_refused_at_once(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = replace(spec_of("no-priority"), placement=Placement(priority_class="nobody-has-this"))
    seen = await given_up(runtime, admin, spec, seconds=5)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.REFUSED
    assert "nobody-has-this" in seen.ending.log_tail


@pytest.mark.ended("program-named")
async def test_a_command_that_is_not_there(runtime: KubernetesRuntime, admin: Admin) -> None:
    seen = await given_up(runtime, admin, spec_of("no-command", ("streamlit-of-nobody", "{port}")))
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.START_FAILED
    assert seen.ending.what.startswith("“streamlit-of-nobody” could not be started: executable file not found")


@pytest.mark.ended("memory")
async def test_more_memory_than_allowed(runtime: KubernetesRuntime, admin: Admin) -> None:
    hungry = python("x = [b'x' * 2**20 for _ in range(2000)]")
    seen = await given_up(runtime, admin, spec_of("hungry", hungry))
    assert seen.ending is not None
    assert (seen.ending.reason, seen.ending.what) == (
        StopReason.MEMORY,
        "It used more than 128 MiB and was stopped.",
    )


@pytest.mark.ended("install-python")
async def test_a_lock_for_another_python(runtime: KubernetesRuntime, admin: Admin) -> None:
    seen = await given_up(runtime, admin, spec_of("other-python", lock=Lock("", "3.9", 0)))
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.PYTHON_MISSING
    assert "another Python" in seen.ending.what


async def test_a_foreign_object_of_our_name_is_left_alone(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = spec_of("taken")
    theirs: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "workspace-taken"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    made = await admin.create("persistentvolumeclaims", theirs)
    await runtime.start(spec)
    seen = await runtime.look(spec.ref)
    assert seen.sight is Sight.EXITED
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.START_FAILED
    assert seen.ending.what == "Something in the cluster that is not the platform's has its name, workspace-taken."
    await runtime.remove(spec.ref, workspace=True)
    found = await admin.cluster.get(f"{admin.base}/persistentvolumeclaims/workspace-taken")
    assert found is not None
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert await admin.pod("taken") is None
    await admin.cluster.delete(f"{admin.base}/persistentvolumeclaims/workspace-taken")
    assert json.dumps(found)
