"""Item 58: what every page of the control plane tells browsers, over TLS as in an institution."""

from __future__ import annotations

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy

HOME = "https://cmb.example.org"
YEAR_SECONDS = 31_536_000


async def page(_: Request) -> HTMLResponse:
    """A page that says nothing of itself."""
    return HTMLResponse("hello")


async def test_58_browsers_are_told_to_frame_guess_and_downgrade_nothing() -> None:
    app = Shell(Starlette(routes=[Route("/", page)]), HOME, content_security_policy(HOME, ()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=HOME) as client:
        for path in ("/", "/missing"):
            headers = (await client.get(path)).headers
            rules = headers["content-security-policy"].split("; ")
            assert {"frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'"} <= set(rules)
            (script,) = [rule for rule in rules if rule.startswith("script-src")]
            assert "unsafe" not in script
            name, _, seconds = headers["strict-transport-security"].partition("=")
            assert (name, int(seconds) >= YEAR_SECONDS) == ("max-age", True)
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["x-content-type-options"] == "nosniff"
