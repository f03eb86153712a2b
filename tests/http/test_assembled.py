"""The whole web application as it is served: no route in it that nobody declared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cmbcluster.http.api.table import API_WAYS, BASE
from cmbcluster.http.routes import WAYS

ROOT = Path(__file__).parents[2]
# What the framework adds and why it may stay: two answers without content, and the socket
# of events, which the shell opens to our own pages alone and the guard watches.
OF_THE_FRAMEWORK = {("/ping", "GET"), ("/_health", "GET"), ("/_event", "")}

# In a process of its own, since an application can be put together once in a process.
WALK = """
import json
from cmbcluster.cmbcluster import app

def walk(place, before=""):
    for route in getattr(place, "routes", None) or []:
        path = before + route.path
        inner = list(walk(route.app, path)) if type(route).__name__ == "Mount" else []
        yield from inner or [(path, method) for method in sorted(getattr(route, "methods", None) or [""])]

top = app()
while not hasattr(top, "routes"):
    top = top.app
print("ROUTES", json.dumps(list(walk(top))))
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
    found = {(path, method) for path, method in json.loads(line.removeprefix("ROUTES ")) if method != "HEAD"}
    declared = {(way.path, way.method) for way in WAYS} | {(BASE + way.path, way.method) for way in API_WAYS}
    declared |= OF_THE_FRAMEWORK
    assert found == declared, f"undeclared: {found - declared}; missing: {declared - found}"
