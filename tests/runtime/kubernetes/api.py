"""An API server that says what a test wrote for it: answers in order, streams line by line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from cmbcluster.runtime.kubernetes.client import Cluster

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Script:
    """``answers`` are used up in order, the last one for ever. ``asked`` is what came."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, dict(request.query), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


def says(body: object, status: int = 200, **headers: str) -> Answer:
    """One whole answer."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


def refuses(code: int, reason: str = "", message: str = "", **headers: str) -> Answer:
    """A failure in the API server's own form."""
    return says({"kind": "Status", "code": code, "reason": reason, "message": message}, code, **headers)


def tells(*events: dict[str, Any], breaks: bool = False, silent_for_seconds: float = 0) -> Answer:
    """A watch that tells events, then ends, breaks off within a line, or says nothing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        if breaks:
            await response.write(b'{"type": "ADD')
            if request.transport is not None:
                request.transport.close()
            return response
        await asyncio.sleep(silent_for_seconds)
        return response

    return answer


def pod(name: str, version: str, uid: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": version}}


def listed(version: str, *items: dict[str, Any], following: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version, "continue": following}, "items": list(items)}


@asynccontextmanager
async def served(*answers: Answer) -> AsyncIterator[tuple[Cluster, Script]]:
    """A client of a server with that script."""
    script = Script(list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    cluster = Cluster(Configuration(host=f"http://127.0.0.1:{port}"))
    try:
        yield cluster, script
    finally:
        await cluster.close()
        await runner.cleanup()
