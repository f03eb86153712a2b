"""A namespace of our own on the test cluster, and what tests do there with an administrator's hands."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cmbcluster.domain.sources import Lock, Program, PythonSource
from cmbcluster.runtime.kubernetes.client import Cluster, connected
from cmbcluster.runtime.kubernetes.names import pod_name
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Packages, Ref, Runtime, Spec
from cmbcluster.settings import Settings
from tests.runtime.place import MIB, make_spec, python

SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"here")
    def log_message(self, *_): pass
print("serving on", sys.argv[2], flush=True)
print("to stderr", file=sys.stderr, flush=True)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
"""
SERVES = python(SERVER, "{address}", "{port}")
PYTHON = os.environ.get("CMB_TEST_WORKSPACE_PYTHON", "3.12")
LABELS = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "v1.34",
}


def wanted(name: str) -> str:
    """An address of the test cluster; says what to set where it is missing."""
    value = os.environ.get(name, "")
    assert value, f"set {name}: docs/kubernetes.md says how the test cluster is started"
    return value


def needs(name: str) -> pytest.MarkDecorator:
    """Skips what one more address is needed for, with the reason; never where nothing may be skipped."""
    required = os.environ.get("CMB_REQUIRE_ALL") and not os.environ.get("CMB_WITHOUT_CLUSTER")
    missing = not os.environ.get(name) and not required
    return pytest.mark.skipif(missing, reason=f"set {name}: docs/kubernetes.md says to what")


def settings_for(namespace: str, **changes: object) -> Settings:
    """Settings of a platform that has a namespace to itself."""
    values: dict[str, object] = {
        "runtime": "kubernetes",
        "kubernetes_namespace": namespace,
        "kubernetes_packages_bytes": 1024**3,
        "kubernetes_stop_grace_seconds": 3,
        "workspace_image": wanted("CMB_TEST_WORKSPACE_IMAGE"),
        "workspace_python": PYTHON,
        "_env_file": None,
    }
    return Settings(**(values | changes))  # type: ignore[arg-type]


def spec_of(slug: str, command: tuple[str, ...] = SERVES, **changes: Any) -> Spec:
    """A small spec without packages."""
    lock = changes.pop("lock", Lock("", PYTHON, 0))
    changes.setdefault("memory_bytes", 128 * MIB)
    made = make_spec(slug, command, lock=lock, source=PythonSource((), PYTHON), **changes)
    assert isinstance(made.content, Packages)
    return made


def program(*command: str, ready_within_seconds: int = 30, port: int = 8501) -> Program:
    return Program(command, port, "/", ready_within_seconds)


class Admin:
    """Looks and meddles in one namespace, beside the runtime."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.base = f"/api/v1/namespaces/{namespace}"

    async def pod(self, slug: str) -> dict[str, Any] | None:
        return await self.cluster.get(f"{self.base}/pods/{pod_name(slug)}")

    async def delete_pod(self, slug: str) -> None:
        await self.cluster.delete(f"{self.base}/pods/{pod_name(slug)}")

    async def names(self, kind: str) -> set[str]:
        found = await self.cluster.get(f"{self.base}/{kind}")
        assert found is not None
        return {each["metadata"]["name"] for each in found["items"]}

    async def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        made = await self.cluster.create(f"{self.base}/{kind}", body)
        assert made is not None
        return made


@asynccontextmanager
async def admin_of(namespace: str) -> AsyncIterator[Admin]:
    """An administrator's connection."""
    wanted("KUBECONFIG")
    cluster = await connected("")
    try:
        yield Admin(cluster, namespace)
    finally:
        await cluster.close()


async def make_namespace() -> str:
    """A restricted namespace with a name that nobody had."""
    name = f"cmb-test-{secrets.token_hex(4)}"
    async with admin_of(name) as admin:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": LABELS}}
        assert await admin.cluster.create("/api/v1/namespaces", body) is not None
    return name


async def remove_namespace(name: str) -> None:
    """Ask for its end; the cluster cleans it up by itself."""
    async with admin_of(name) as admin:
        await admin.cluster.delete(f"/api/v1/namespaces/{name}")


@asynccontextmanager
async def opened(settings: Settings, **others: Any) -> AsyncIterator[KubernetesRuntime]:
    """A runtime that follows, and stops to."""
    runtime = KubernetesRuntime(settings, **others)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


async def until_true(true: Callable[[], Any], seconds: float = 60) -> Any:
    """Ask until the answer is something; awaits what has to be."""
    give_up_at = time.monotonic() + seconds
    while True:
        found = true()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        assert time.monotonic() < give_up_at, f"not so after {seconds} s"
        await asyncio.sleep(0.2)


async def end_all(runtime: Runtime, admin: Admin, *refs: Ref) -> None:
    """Bring environments of a test to their end, whatever became of them."""
    for ref in refs:
        await runtime.stop(ref)
    for ref in refs:

        async def is_over(slug: str = ref.slug) -> bool:
            pod = await admin.pod(slug)
            return pod is None or pod["status"]["phase"] in ("Failed", "Succeeded")

        await until_true(is_over)
        await runtime.remove(ref, workspace=True)
