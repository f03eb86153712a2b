"""Machines and what is scarce on them, made for one test and gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cmbcluster.runtime.port import Placement, Toleration
from tests.kubernetes.cluster import Admin, until_true
from tests.kubernetes.disturbing import pretending

SEAT = "cmb.test/seat"
KEY = "cmb-test"
_FULL = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "pods": "0"}


@asynccontextmanager
async def cordoned(admin: Admin, node: str) -> AsyncIterator[None]:
    """Within, one node takes nothing new."""
    path = f"/api/v1/nodes/{node}"
    await admin.cluster.patch(path, {"spec": {"unschedulable": True}})
    try:
        yield
    finally:
        await admin.cluster.patch(path, {"spec": {"unschedulable": None}})


@asynccontextmanager
async def closed(admin: Admin) -> AsyncIterator[None]:
    """Within, no node takes new pods; those that were open are open again afterwards, whatever happened."""
    nodes = await admin.cluster.get("/api/v1/nodes")
    assert nodes is not None
    names = [each["metadata"]["name"] for each in nodes["items"] if not each["spec"].get("unschedulable")]
    try:
        for name in names:
            await admin.cluster.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        yield
    finally:
        for name in names:
            await admin.cluster.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})


async def evict(admin: Admin, name: str) -> None:
    """What ``kubectl drain`` does to each pod."""
    about = {"name": name, "namespace": admin.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
    assert await admin.cluster.create(f"{admin.base}/pods/{name}/eviction", body) is not None


@asynccontextmanager
async def one_seat(admin: Admin, node: str) -> AsyncIterator[None]:
    """Within, the node has one of something that nobody else asks for, so that nobody else has to go for it."""

    async def say(count: str | None) -> None:
        amounts = {"capacity": {SEAT: count}, "allocatable": {SEAT: count}}
        await admin.cluster.patch(f"/api/v1/nodes/{node}/status", {"status": amounts})

    await say("1")
    try:
        yield
    finally:
        await say(None)


@asynccontextmanager
async def important(admin: Admin, name: str) -> AsyncIterator[None]:
    """Within, a pod that the cluster holds more important than environments wants the seat, and gets it."""
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    about: dict[str, Any] = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}}
    await admin.cluster.create(classes, about | {"value": 1_000_000})
    try:
        await admin.create("pods", _pod(name))
        yield
    finally:
        await admin.cluster.delete(f"{admin.base}/pods/{name}", grace_seconds=0)
        await admin.cluster.delete(f"{classes}/{name}")


def _pod(name: str) -> dict[str, Any]:
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "waits",
        "image": "localhost/busybox:test",
        "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sleep", "600"],
        "securityContext": confined,
        "resources": {"limits": {SEAT: "1"}},
    }
    account = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"priorityClassName": name, "containers": [container], "securityContext": account, "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@asynccontextmanager
async def two_machines(admin: Admin, name: str) -> AsyncIterator[Placement]:
    """Two nodes that pretend to run what is placed there, and a workspace that both reach."""
    nodes, volume = [f"{name}-{number}" for number in (1, 2)], f"/api/v1/persistentvolumes/{name}"
    async with pretending(admin):
        try:
            for node in nodes:
                await admin.cluster.create("/api/v1/nodes", _node(node, name))
            await admin.cluster.create("/api/v1/persistentvolumes", _volume(name))
            await until_true(lambda: _are_ready(admin, nodes))
            yield Placement(node_selector=((KEY, name),), tolerations=(Toleration(KEY),), storage_class=name)
        finally:
            await asyncio.gather(*(admin.cluster.delete(f"/api/v1/nodes/{node}") for node in nodes))
            await admin.cluster.delete(volume)


def _node(node: str, name: str) -> dict[str, Any]:
    amounts = {"cpu": "8", "memory": "16Gi", "pods": "20", "ephemeral-storage": "100Gi"}
    about = {
        "name": node,
        "annotations": {"kwok.x-k8s.io/node": "fake"},
        "labels": {"kubernetes.io/hostname": node, KEY: name},
    }
    spec = {"taints": [{"key": KEY, "effect": "NoSchedule"}]}
    status = {"capacity": amounts, "allocatable": amounts}
    return {"apiVersion": "v1", "kind": "Node", "metadata": about, "spec": spec, "status": status}


def _volume(name: str) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "1Ti"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": name,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/tmp/{name}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


async def _are_ready(admin: Admin, nodes: list[str]) -> bool:
    for node in nodes:
        found = await admin.cluster.get(f"/api/v1/nodes/{node}")
        conditions = (found or {}).get("status", {}).get("conditions", ())
        if ("Ready", "True") not in [(each["type"], each["status"]) for each in conditions]:
            return False
    return True


@asynccontextmanager
async def full_machine(admin: Admin, name: str) -> AsyncIterator[Placement]:
    """A machine that takes no pod at all; nobody but who asks for it sees it, so nobody is disturbed."""
    node = _node(name, name)
    node["metadata"].pop("annotations")
    node["status"] = dict.fromkeys(("capacity", "allocatable"), _FULL)
    await admin.cluster.create("/api/v1/nodes", node)
    try:
        # No kubelet says that it is ready.
        silent = Toleration("node.kubernetes.io/not-ready"), Toleration("node.kubernetes.io/unreachable")
        yield Placement(node_selector=((KEY, name),), tolerations=(Toleration(KEY), *silent))
    finally:
        await admin.cluster.delete(f"/api/v1/nodes/{name}")
