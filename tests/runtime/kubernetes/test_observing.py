"""Whoever follows a cluster is told of every pod that can be read."""

from __future__ import annotations

import asyncio

from aiohttp import web

from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.settings import Settings
from tests.runtime.kubernetes.api import listed, served
from tests.runtime.kubernetes.specs import packages_spec
from tests.runtime.kubernetes.test_silence import silent_pod


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

    async with served(answer) as (cluster, _):

        async def connect() -> Cluster:
            return cluster

        runtime = KubernetesRuntime(Settings(), connect=connect)
        await runtime.open()
        try:
            async with asyncio.timeout(5):
                assert (await anext(aiter(runtime.observe()))).ref == packages_spec().ref
        finally:
            await runtime.close()
