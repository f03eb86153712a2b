"""Launches that find no place or no volume, on the real cluster."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Lock
from cmbcluster.runtime.kubernetes.names import packages_claim_name
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Ending, Placement, Spec
from tests.kubernetes.cluster import PYTHON, Admin, admin_of, end_all, opened, settings_for, spec_of, until_true
from tests.kubernetes.hopeless import given_up, plant, plant_claim
from tests.kubernetes.places import full_machine

pytestmark = pytest.mark.kubernetes
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
VOLUMES = "/api/v1/persistentvolumes"


@pytest.fixture
async def runtime(namespace: str) -> AsyncIterator[KubernetesRuntime]:
    """A runtime with a fiftieth of the usual patience."""
    async with opened(settings_for(namespace), patience=0.02) as runtime:
        yield runtime


@pytest.fixture
def name() -> str:
    """A name for what the whole cluster has, which nobody had."""
    return f"cmb-test-{secrets.token_hex(4)}"


async def ending_of(runtime: KubernetesRuntime, admin: Admin, spec: Spec) -> Ending:
    ending = (await given_up(runtime, admin, spec)).ending
    assert ending is not None
    return ending


def bundled(slug: str) -> Spec:
    """One that installs a package which no index has, so that it needs what environments share."""
    return spec_of(slug, lock=Lock("made-up-to-share==1\n", PYTHON, 1))


@pytest.mark.hopeless("claim-missing")
async def test_packages_whose_volume_is_gone_get_another_one_at_the_next_start(own_namespace: str) -> None:
    async with admin_of(own_namespace) as admin, opened(settings_for(own_namespace), patience=0.1) as runtime:
        path = f"{admin.base}/persistentvolumeclaims/{packages_claim_name(settings_for(own_namespace).instance)}"
        await runtime.start(bundled("volume-there"))
        await end_all(runtime, admin, bundled("volume-there").ref)
        await admin.cluster.delete(path)
        await until_true(lambda: _is_gone(admin, path))
        ending = await ending_of(runtime, admin, bundled("volume-gone"))
        assert ending.reason is StopReason.VOLUME
        assert ending.what == "Its workspace or the volume of packages is not in the cluster."
        await runtime.start(bundled("volume-again"))
        assert await admin.cluster.get(path) is not None
        await end_all(runtime, admin, bundled("volume-again").ref)


async def _is_gone(admin: Admin, path: str) -> bool:
    return await admin.cluster.get(path) is None


@pytest.mark.hopeless("volume-not-mounted")
async def test_what_cannot_be_mounted_is_made_again_for_the_next_start(
    runtime: KubernetesRuntime, admin: Admin
) -> None:
    before = await admin.names("configmaps")
    await runtime.start(bundled("mounted"))
    (bundle,) = await admin.names("configmaps") - before
    await end_all(runtime, admin, bundled("mounted").ref)
    await admin.cluster.delete(f"{admin.base}/configmaps/{bundle}")
    ending = await ending_of(runtime, admin, bundled("not-mounted"))
    assert ending.reason is StopReason.VOLUME
    assert ending.what == "Its volume could not be attached to the machine chosen for it."
    assert f'configmap "{bundle}" not found' in ending.log_tail
    await runtime.start(bundled("mounted-again"))
    assert bundle in await admin.names("configmaps")
    await end_all(runtime, admin, bundled("mounted-again").ref)


@pytest.mark.hopeless("claim-unbound")
async def test_a_volume_that_is_waited_for_in_vain(runtime: KubernetesRuntime, admin: Admin, name: str) -> None:
    about = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    await admin.cluster.create(CLASSES, about | {"provisioner": "cmb.test/nobody", "volumeBindingMode": "Immediate"})
    try:
        spec = replace(spec_of("unbound"), placement=Placement(storage_class=name))
        ending = await ending_of(runtime, admin, spec)
    finally:
        await admin.cluster.delete(f"{CLASSES}/{name}")
    assert (ending.reason, ending.what) == (StopReason.VOLUME, "The cluster has not made a volume for it.")


@pytest.mark.hopeless("volume-none")
async def test_a_workspace_of_no_class(runtime: KubernetesRuntime, admin: Admin) -> None:
    """As on a cluster that has no class of its own."""
    spec = spec_of("classless")
    await plant_claim(admin, spec, lambda claim: claim["spec"].update(storageClassName=""))
    ending = await ending_of(runtime, admin, spec)
    assert (ending.reason, ending.what) == (StopReason.VOLUME, "The cluster has no volume for it.")


@pytest.mark.hopeless("volume-elsewhere")
async def test_a_workspace_that_lies_on_a_machine_which_is_not_there(
    runtime: KubernetesRuntime, admin: Admin, name: str
) -> None:
    spec = replace(spec_of("elsewhere"), placement=Placement(storage_class=name))
    await admin.cluster.create(VOLUMES, _volume_of_nobody(name))
    try:
        await plant_claim(admin, spec)
        await until_true(lambda: _is_bound(admin, "workspace-elsewhere"))
        ending = await ending_of(runtime, admin, spec)
    finally:
        await admin.cluster.delete(f"{VOLUMES}/{name}")
    assert (ending.reason, ending.what) == (StopReason.VOLUME, "Its workspace lies where no machine has room for it.")


def _volume_of_nobody(name: str) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["nobody"]}
    spec = {
        "capacity": {"storage": "1Ti"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": name,
        "persistentVolumeReclaimPolicy": "Retain",
        "local": {"path": "/nowhere"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


async def _is_bound(admin: Admin, claim: str) -> bool:
    found = await admin.cluster.get(f"{admin.base}/persistentvolumeclaims/{claim}")
    return bool(found) and (found or {}).get("status", {}).get("phase") == "Bound"


@pytest.mark.hopeless("too-many-pods")
async def test_a_machine_that_runs_as_much_as_it_can(runtime: KubernetesRuntime, admin: Admin, name: str) -> None:
    async with full_machine(admin, name) as placement:
        ending = await ending_of(runtime, admin, replace(spec_of("too-many"), placement=placement))
    assert ending.reason is StopReason.NO_ROOM
    assert ending.what == "Every machine of the cluster runs as many environments as it can."


@pytest.mark.hopeless("no-place")
async def test_a_place_that_is_refused_in_words_that_nobody_knows(runtime: KubernetesRuntime, admin: Admin) -> None:
    """As where somebody else's program lets pods wait for its own word."""
    spec = spec_of("gated")
    await plant(admin, spec, lambda pod: pod["spec"].update(schedulingGates=[{"name": "cmb.test/waits"}]))
    ending = await ending_of(runtime, admin, spec)
    assert (ending.reason, ending.what) == (StopReason.NO_ROOM, "The cluster finds no place for it.")
    assert "scheduling gates" in ending.log_tail
