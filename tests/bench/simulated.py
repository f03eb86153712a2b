"""A namespace whose pods run on a node that only pretends, volumes for them, and the API server's audit log.

The API server of the test cluster is started again with an audit log, and once more without it
afterwards; nobody else must use the cluster meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cmbcluster.runtime.kubernetes.client import Cluster, connected
from tests.bench.surroundings import child, free_port, until
from tests.kubernetes.cluster import LABELS

NODE = "simulated-bench"
CLASS = "simulated-bench"
PLATFORM_AGENT = "cmbcluster"
BENCH_AGENT = "benchmark"
READY_SECONDS = 90.0
PORT_SECONDS = 1.5
AT_ONCE = 16
NODE_HOLDS = {"cpu": "10000", "memory": "40Ti", "ephemeral-storage": "100Ti", "pods": "10000"}


@dataclass
class Simulated:
    """The namespace, with an administrator's hands."""

    cluster: Cluster
    namespace: str
    audit: Path

    @property
    def base(self) -> str:
        """Path of the namespace's objects."""
        return f"/api/v1/namespaces/{self.namespace}"

    async def versions(self) -> dict[str, tuple[str, str]]:
        """Uid and version of each pod, by name."""
        found = await self.cluster.get(f"{self.base}/pods")
        assert found is not None
        return {
            each["metadata"]["name"]: (each["metadata"]["uid"], each["metadata"]["resourceVersion"])
            for each in found["items"]
        }

    async def delete_pod(self, name: str) -> None:
        """Take a pod away at once, as a lost node does."""
        await self.cluster.delete(f"{self.base}/pods/{name}", grace_seconds=0)

    def asked(self, since: float) -> Counter[tuple[str, str]]:
        """What the platform asked since then, as the audit log has it: verb and kind of object."""
        counted: Counter[tuple[str, str]] = Counter()
        for line in self.audit.read_text(encoding="utf-8").splitlines():
            event: dict[str, Any] = json.loads(line)
            if event["userAgent"] != PLATFORM_AGENT or _moment(event["requestReceivedTimestamp"]) < since:
                continue
            counted[event["verb"], event["objectRef"]["resource"]] += 1
        return counted


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@asynccontextmanager
async def simulated(folder: Path, volumes: int, volume_bytes: int) -> AsyncIterator[Simulated]:
    """Everything is there; afterwards nothing is."""
    namespace = f"cmb-bench-{secrets.token_hex(4)}"
    words = _api_server()
    notes = await _audited(folder, namespace, words)
    try:
        # After the restart: it gives up on an API server that goes away.
        with child(*_kwok(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            cluster = await connected("")
            cluster._client.user_agent = BENCH_AGENT
            made = Simulated(cluster, namespace, notes)
            try:
                await _make(made, volumes, volume_bytes)
                yield made
            finally:
                await _remove(made, volumes)
                await cluster.close()
    finally:
        await _restart_api_server(words)


def _kwok() -> tuple[str, ...]:
    return (
        "kwok", f"--kubeconfig={os.environ['KUBECONFIG']}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=bench",
        # Without a lease a late heartbeat makes all pods unready, and nobody here makes them ready again.
        "--node-lease-duration-seconds=40", "--cidr=10.244.128.0/17", "--node-ip=10.244.127.1",
        f"--server-address=127.0.0.1:{free_port()}",
    )  # fmt: skip


async def _make(made: Simulated, volumes: int, volume_bytes: int) -> None:
    cluster = made.cluster
    await cluster.create("/api/v1/namespaces", {"metadata": {"name": made.namespace, "labels": LABELS}})
    node = {
        "metadata": {
            "name": NODE,
            "annotations": {"kwok.x-k8s.io/node": "bench"},
            "labels": {"kubernetes.io/hostname": NODE, "type": "simulated"},
        },
        "spec": {"taints": [{"key": "simulated", "effect": "NoSchedule"}]},
        "status": {"capacity": NODE_HOLDS, "allocatable": NODE_HOLDS},
    }
    await cluster.create("/api/v1/nodes", node)
    await until(lambda: _is_ready(cluster), pause_seconds=0.2, most_seconds=READY_SECONDS)
    await until(lambda: _is_there(cluster, f"{made.base}/serviceaccounts/default"), pause_seconds=0.2, most_seconds=60)
    await cluster.create(
        "/apis/storage.k8s.io/v1/storageclasses",
        {"metadata": {"name": CLASS}, "provisioner": "kubernetes.io/no-provisioner", "reclaimPolicy": "Retain"},
    )
    numbers = iter(range(volumes))

    async def provide() -> None:
        for number in numbers:
            await cluster.create("/api/v1/persistentvolumes", _volume(made.namespace, number, volume_bytes))

    await asyncio.gather(*(provide() for _ in range(AT_ONCE)))


async def _is_there(cluster: Cluster, path: str) -> bool:
    return await cluster.get(path) is not None


async def _is_ready(cluster: Cluster) -> bool:
    node = await cluster.get(f"/api/v1/nodes/{NODE}")
    conditions = (node or {}).get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _volume(namespace: str, number: int, size_bytes: int) -> dict[str, Any]:
    # Nothing is ever mounted on a node that pretends.
    return {
        "metadata": {"name": f"{namespace}-{number}"},
        "spec": {
            "capacity": {"storage": str(size_bytes)},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "hostPath": {"path": "/nowhere"},
        },
    }


async def _remove(made: Simulated, volumes: int) -> None:
    cluster = made.cluster
    await cluster.delete(f"/api/v1/namespaces/{made.namespace}")
    give_up_at = time.monotonic() + 10 * READY_SECONDS
    while await cluster.get(f"/api/v1/namespaces/{made.namespace}") is not None and time.monotonic() < give_up_at:
        await asyncio.sleep(1)
    numbers = iter(range(volumes))

    async def withdraw() -> None:
        for number in numbers:
            await cluster.delete(f"/api/v1/persistentvolumes/{made.namespace}-{number}")

    await asyncio.gather(*(withdraw() for _ in range(AT_ONCE)))
    await cluster.delete(f"/apis/storage.k8s.io/v1/storageclasses/{CLASS}")
    await cluster.delete(f"/api/v1/nodes/{NODE}")


# ---- the API server ----


async def _audited(folder: Path, namespace: str, words: tuple[str, ...]) -> Path:
    """Start the API server again, which then notes each request about that namespace; the path of its notes."""
    policy, notes = folder / "audit.yaml", folder / "audit.log"
    rules = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{"level": "Metadata", "namespaces": [namespace]}, {"level": "None"}],
    }
    policy.write_text(json.dumps(rules), encoding="utf-8")
    await _restart_api_server((*words, f"--audit-policy-file={policy}", f"--audit-log-path={notes}"))
    return notes


def _api_server() -> tuple[str, ...]:
    """What the API server was started with, but for an audit log."""
    words = Path(f"/proc/{_pid_file().read_text(encoding='utf-8').strip()}/cmdline").read_text(encoding="utf-8")
    return tuple(word for word in words.split("\0") if word and not word.startswith("--audit-"))


def _pid_file() -> Path:
    return Path(os.environ["CMB_TEST_KUBELET_PID"]).with_name("apiserver.pid")


async def _restart_api_server(words: tuple[str, ...]) -> None:
    """End the one that runs, and start one with these words."""
    pid_file = _pid_file()
    # At once: told to end it would wait a minute for watches that last longer. What it knows is in etcd.
    with suppress(ProcessLookupError):
        os.kill(int(pid_file.read_text(encoding="utf-8")), signal.SIGKILL)
    with (pid_file.parent / "log" / "apiserver.log").open("ab") as log:
        give_up_at = time.monotonic() + READY_SECONDS
        while True:
            started = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
            await asyncio.sleep(PORT_SECONDS)
            # Its port is free a moment after the end of the one before.
            if started.poll() is None or time.monotonic() > give_up_at:
                break
    pid_file.write_text(f"{started.pid}\n", encoding="utf-8")
    cluster = await connected("")
    try:
        await _until_ready(cluster)
    finally:
        await cluster.close()


async def _until_ready(cluster: Cluster) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while True:
        try:
            await cluster.get("/api/v1/namespaces/default")
        except Exception:
            if time.monotonic() > give_up_at:
                raise
            await asyncio.sleep(0.5)
        else:
            return
