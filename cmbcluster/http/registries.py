"""Entering an account at a registry from the page of settings.

A route of its own, since the password in it goes from the person's browser into the sealed
row and nowhere else: not into the state of a page, not into an address, not into a log line.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cmbcluster.http.actors import actor_of
from cmbcluster.http.forms import json_form
from cmbcluster.wiring import parts


async def enter_account(request: Request) -> Response:
    """Keep an account from ``registry``, ``username`` and ``secret``; the answer has no secret in it."""
    actor = await actor_of(request)
    asked = await json_form(request)
    registry, username, secret = (
        value if isinstance(value := asked.get(name), str) else "" for name in ("registry", "username", "secret")
    )
    view = await parts().registries.enter(actor, registry, username, secret)
    return JSONResponse({"registry": view.registry, "username": view.username}, 201)
