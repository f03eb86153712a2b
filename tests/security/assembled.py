"""The web application as it is served: everything that stands in front of a route, over a world of people.

``Forwarded`` outside ``Shell`` outside ``SessionCookies``, as ``commands/platform.py`` puts
them together; inside are our own routes with the API; the pages' application stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
from starlette.routing import Mount

from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.http.forwarded import Forwarded
from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy
from cmbcluster.http.routes import build_routes
from cmbcluster.http.session_cookie import SessionCookies
from tests.security.actors import World

HOME = "http://localhost:8200"
OUR_PAGE = {"Sec-Fetch-Site": "same-origin", "Origin": HOME}


def walk(place: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Path and method of every route, also of what is mounted."""
    for route in getattr(place, "routes", ()):
        if isinstance(route, Mount):
            yield from walk(route.app, before + route.path)
            continue
        for method in sorted((getattr(route, "methods", None) or {""}) - {"HEAD"}):
            yield before + route.path, method


def registered() -> set[tuple[str, str]]:
    """Every route there is."""
    return set(walk(build_routes()))


def browser(world: World) -> httpx.AsyncClient:
    """A client of the assembled application that keeps no cookies."""
    settings = world.platform.parts.settings
    policy = content_security_policy(HOME, ("sha256-abc=",))
    app = Forwarded(Shell(SessionCookies(build_routes(), settings), HOME, policy), settings)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=HOME)


def shows(world: World, who: str) -> dict[str, str]:
    """The headers with which this actor comes."""
    seen = {"X-Forwarded-For": "192.0.2.66"}
    if who in world.secrets and "token" in who:
        return seen | {"Authorization": f"Bearer {world.secrets[who]}"}
    if who == "token of the disabled":
        return seen | {"Authorization": f"Bearer {world.secrets['disabled']}"}
    if who in world.cookies:
        return seen | OUR_PAGE | {"Cookie": f"{SESSION_COOKIE}={world.cookies[who]}"}
    return seen | OUR_PAGE
