"""The whole web application as it is served: no route in it that nobody declared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from cmbcluster.http.api.table import API_WAYS, BASE
from cmbcluster.http.routes import WAYS, OwnRoutesFirst

ROOT = Path(__file__).parents[2]
# What the framework adds and why it may stay: two answers without content, and the socket
# of events, which the shell opens to our own pages alone and the guard watches.
OF_THE_FRAMEWORK = {("/ping", "GET"), ("/_health", "GET"), ("/_event", "")}

# In a process of its own, since an application can be put together once in a process.
WALK = """
import json
from cmbcluster.cmbcluster import app
from cmbcluster.http.routes import build_routes

def walk(place, before=""):
    for route in getattr(place, "routes", None) or []:
        path = before + route.path
        inner = list(walk(route.app, path)) if type(route).__name__ == "Mount" else []
        yield from inner or [(path, method) for method in sorted(getattr(route, "methods", None) or [""])]

top = app()
while not hasattr(top, "routes"):
    top = top.app
print("ROUTES", json.dumps([list(walk(build_routes())), list(walk(top))]))
"""


def test_every_route_of_the_application_is_declared() -> None:
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "REFLEX_TELEMETRY_ENABLED": "false"}
    surroundings |= {"REFLEX_ENV_MODE": "prod", "__REFLEX_SKIP_COMPILE": "true", "REFLEX_CHECK_LATEST_VERSION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", WALK],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("ROUTES "))
    ours, framework = (
        {(path, method) for path, method in each if method != "HEAD"}
        for each in json.loads(line.removeprefix("ROUTES "))
    )
    declared = {(way.path, way.method) for way in WAYS} | {(BASE + way.path, way.method) for way in API_WAYS}
    assert ours == declared, f"undeclared: {ours - declared}; missing: {declared - ours}"
    assert framework == OF_THE_FRAMEWORK


@pytest.mark.parametrize(
    ("kind", "path", "ours"),
    [
        ("http", "/api/v1/openapi.json", True),
        ("http", "/api/there-is-none", True),
        ("http", "/healthz", True),
        ("http", "/auth/there-is-none", True),
        ("http", "/", False),
        ("http", "/apiary", False),
        ("http", "//api/v1/openapi.json", False),
        ("http", "/ping", False),
        ("websocket", "/_event", False),
        ("websocket", "/api/v1/me", False),
        ("lifespan", "", False),
    ],
)
async def test_a_request_goes_to_our_routes_or_to_the_pages(kind: str, path: str, ours: bool) -> None:
    reached: list[str] = []

    async def pages(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] in (200, 401, 404, 503)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Scope = {"type": kind, "headers": [], "query_string": b"", "client": ("127.0.0.1", 1), "state": {}}
    place = {"path": path, "raw_path": path.encode(), "root_path": "", "server": ("localhost", 80)}
    scope.update(place, method="GET")
    await OwnRoutesFirst(pages)(scope, receive, send)
    assert reached == ([] if ours else [kind])
