"""A look at a launch that its node holds for started, and that never becomes ready, ends it."""

from __future__ import annotations

from typing import Any, cast

from aiohttp import web

from cmbcluster.runtime.kubernetes import manifests, packages
from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Packages, Sight
from cmbcluster.settings import Settings
from tests.runtime.kubernetes.api import served
from tests.runtime.kubernetes.specs import GROUND, packages_spec

BUNDLE = packages.bundle_of(cast(Packages, packages_spec().content), GROUND.workspace_image)
LONG_AGO = "2026-01-01T00:00:00Z"


def silent_pod() -> dict[str, Any]:
    """A pod whose program has run for months and was never ready."""
    spec = packages_spec()
    pod = manifests.pod(GROUND, spec, BUNDLE)
    pod["metadata"] |= {"uid": "u1", "creationTimestamp": LONG_AGO, "resourceVersion": "1"}
    program = {"name": "program", "ready": False, "started": True, "state": {"running": {"startedAt": LONG_AGO}}}
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": LONG_AGO}
    pod["status"] = {"phase": "Running", "conditions": [ready], "containerStatuses": [program]}
    return pod


async def test_a_launch_that_never_becomes_ready_is_ended_and_its_ending_written_down() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and request.path.endswith("/log"):
            return web.Response(text="its last words\n")
        return web.json_response(silent_pod() if request.method == "GET" else {})

    async with served(answer) as (cluster, script):

        async def connect() -> Cluster:
            return cluster

        runtime = KubernetesRuntime(Settings(), connect=connect)
        await runtime.open(follow=False)
        assert runtime._bundles is not None
        runtime._bundles._made.add(BUNDLE.name)
        seen = await runtime.look(packages_spec().ref)
        assert seen.sight is Sight.STOPPING
        written = next(body for method, _, _, body in script.asked if method == "PATCH")
        assert "never_ready" in str(written)
        assert [path.rsplit("/", 2)[1] for method, path, _, _ in script.asked if method == "DELETE"][-1] == "pods"
        # What it was to install from may be the reason, should somebody have deleted it.
        assert BUNDLE.name not in runtime._bundles._made
        await runtime.close()
