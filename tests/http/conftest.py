"""Our routes inside their shell, over real services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from starlette.applications import Starlette

from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy
from cmbcluster.http.routes import build_routes
from cmbcluster.http.session_cookie import SessionCookies
from cmbcluster.wiring import set_parts
from tests.platform import Platform

HOME = "http://localhost:8200"


@dataclass
class Site:
    """The dashboard's HTTP side as a browser meets it."""

    platform: Platform
    routes: Starlette
    app: Shell
    client: httpx.AsyncClient

    async def sign_in(self, person: str = "elena", **form: str) -> httpx.Response:
        """Sign in as a test person, from our own page; the client keeps the cookie."""
        return await self.post("/auth/development", {"person": person, **form})

    async def post(self, path: str, form: dict[str, str] | None = None) -> httpx.Response:
        """A form sent by our own page."""
        return await self.client.post(path, data=form or {}, headers={"Sec-Fetch-Site": "same-origin", "Origin": HOME})

    async def token(self, person: str = "elena", *scopes: str, name: str = "laptop") -> dict[str, str]:
        """The header of a new token of a test person; all scopes of a usual person when none is named."""
        actor = await self.platform.sign_in(person)
        made = await self.platform.parts.api_tokens.make(actor, name, scopes or ("read", "launch"), 90)
        return {"Authorization": f"Bearer {made.secret}"}


@pytest.fixture
async def site(platform: Platform) -> AsyncIterator[Site]:
    """The routes over the test platform."""
    set_parts(platform.parts)
    routes = build_routes()
    app = Shell(SessionCookies(routes, platform.parts.settings), HOME, content_security_policy(HOME, ("sha256-abc=",)))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
        yield Site(platform, routes, app, client)
    set_parts(None)
