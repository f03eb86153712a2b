"""Whoever follows a cluster is told of every pod that can be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Sight
from cmbcluster.settings import Settings
from tests.runtime.kubernetes.api import listed, served
from tests.runtime.kubernetes.specs import packages_spec
from tests.runtime.kubernetes.test_seeing import SPEC, running
from tests.runtime.kubernetes.test_silence import silent_pod

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def following(answer: Answer) -> AsyncIterator[KubernetesRuntime]:
    """A runtime that follows an API server which answers like this."""
    async with served(answer) as (cluster, _):

        async def connect() -> Cluster:
            return cluster

        runtime = KubernetesRuntime(Settings(), connect=connect)
        await runtime.open()
        try:
            yield runtime
        finally:
            await runtime.close()


async def test_a_pod_that_nobody_can_read_hides_no_other() -> None:
    odd, good = silent_pod(), silent_pod()
    odd["metadata"]["name"] = "env-a-odd"
    odd["spec"]["containers"] = []
    odd["status"]["conditions"][0]["status"] = "True"
    odd["status"]["podIP"] = "10.0.0.7"

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.sleep(30)
        return web.json_response(listed("5", *((odd, good) if request.path.endswith("/pods") else ())))

    async with following(answer) as runtime, asyncio.timeout(5):
        assert (await anext(aiter(runtime.observe()))).ref == packages_spec().ref


async def test_a_list_of_the_past_is_forgotten_when_the_pod_is_seen() -> None:
    """It told that a pod was gone, which runs; how that one ends later is another matter."""
    there = running(ready=True)

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.sleep(30)
        if request.path.endswith(f"/{there['metadata']['name']}") and there["status"]:
            return web.json_response(there)
        if request.path.count("/") > 5:
            return web.json_response({"kind": "Status", "code": 404, "message": "not found"}, status=404)
        return web.json_response(listed("5"))

    async with following(answer) as runtime:
        runtime._pod_changed(there, True)
        assert (await runtime.look(SPEC.ref)).sight is Sight.RUNNING
        there["status"] = {}
        assert (await runtime.look(SPEC.ref)).sight is Sight.ABSENT
