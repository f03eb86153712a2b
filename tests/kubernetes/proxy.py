"""A proxy in front of the API server that fails on purpose.

It loses answers, refuses some, cuts and stalls watches, tells of the past, or is not there.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config
from yarl import URL

from cmbcluster.runtime.kubernetes.client import Cluster

FAULTS = (409, 429, 500, 503)
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


@dataclass
class Faults:
    """What goes wrong. Numbers are probabilities; ``seed`` makes them the same again.

    While ``stale``, lists and watches say what they said some time before; objects asked for by name are
    told as they are. While ``away`` is *refuses* every connection ends at once, also those that are open;
    while it is *hangs* no request is ever answered, also not when it is over.
    """

    seed: int
    lose_answers: float = 0.0
    refuse: float = 0.0
    watch_seconds: float | None = None
    gone_by_status: bool = False
    gone_in_stream: bool = False
    stall: bool = False
    stale: bool = False
    away: Literal["", "refuses", "hangs"] = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    lost: int = 0
    refused: int = 0
    told_old: int = 0
    lists: dict[str, list[bytes]] = field(default_factory=dict)
    events: dict[str, list[bytes]] = field(default_factory=dict)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311

    def writes(self) -> list[tuple[str, str]]:
        return [each for each in self.asked if each[0] != "GET"]


class _Proxy:
    def __init__(self, session: aiohttp.ClientSession, upstream: str, faults: Faults) -> None:
        self._session = session
        self._upstream = upstream
        self._faults = faults

    async def handle(self, request: web.Request) -> web.StreamResponse:
        faults = self._faults
        watching = request.query.get("watch") == "true"
        faults.asked.append((request.method, request.path))
        if faults.away:
            return await self._away(request)
        if faults.stale and request.method == "GET" and (watching or request.path in faults.lists):
            return await self._old(request, watching=watching)
        if watching and faults.gone_by_status:
            faults.gone_by_status = False
            return _status(410)
        if not watching and faults.chance.random() < faults.refuse:
            faults.refused += 1
            return _status(faults.chance.choice(FAULTS))
        async with self._session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            data=await request.read(),
            headers={"Content-Type": request.headers.get("Content-Type", "application/json")},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if watching or request.query.get("follow") == "true":
                return await self._stream(request, answer, watching=watching)
            body = await answer.read()
            if request.method == "GET" and b'List","' in body[:200]:
                faults.lists.setdefault(request.path, []).append(body)
            if request.method != "GET" and faults.chance.random() < faults.lose_answers:
                faults.lost += 1
                assert request.transport is not None
                request.transport.close()
            return web.Response(status=answer.status, body=body, content_type="application/json")

    async def _away(self, request: web.Request) -> web.StreamResponse:
        if self._faults.away == "hangs":
            await asyncio.Event().wait()
        return _cut(request)

    async def _old(self, request: web.Request, *, watching: bool) -> web.StreamResponse:
        """A list of some time before, or a watch that repeats what it said and then is too old."""
        faults = self._faults
        faults.told_old += 1
        if not watching:
            body = faults.chance.choice(faults.lists[request.path])
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse()
        await response.prepare(request)
        events = faults.events.get(request.path, [])
        try:
            for line in events[faults.chance.randrange(len(events) + 1) :]:
                await response.write(line)
            await asyncio.sleep(faults.chance.uniform(0, 1))
            await response.write(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n")
        except ConnectionError:
            # Whoever asked went away.
            return response
        return response

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, *, watching: bool
    ) -> web.StreamResponse:
        faults = self._faults
        response = web.StreamResponse(status=answer.status)
        await response.prepare(request)
        if watching and faults.gone_in_stream:
            faults.gone_in_stream = False
            await response.write(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n")
            return response
        try:
            async with asyncio.timeout(faults.watch_seconds if watching else None):
                async for line in answer.content:
                    if watching and (faults.stale or faults.away):
                        return _cut(request)
                    if watching:
                        faults.events.setdefault(request.path, []).append(line)
                    if not (watching and faults.stall):
                        await response.write(line)
        except TimeoutError:
            if request.transport is not None:
                request.transport.close()
        except (ConnectionResetError, aiohttp.ClientError):
            # Whoever asked went away.
            return response
        return response


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _status(code: int) -> web.Response:
    headers = {"Retry-After": "1"} if code == 429 else {}
    said = {"kind": "Status", "code": code, "reason": "Fault", "message": "a fault of the test"}
    return web.json_response(said, status=code, headers=headers)


@asynccontextmanager
async def proxied(faults: Faults) -> AsyncIterator[str]:
    """The address of a failing API server in front of the real one."""
    upstream = Configuration()
    await load_kube_config(config_file=os.environ["KUBECONFIG"], client_configuration=upstream)
    rest = Cluster(upstream)._client.rest_client
    connector = aiohttp.TCPConnector(ssl=rest.ssl_context)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**21) as session:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", _Proxy(session, upstream.host, faults).handle)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
