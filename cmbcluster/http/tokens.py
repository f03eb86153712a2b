"""Making a personal token from the page of settings.

A route of its own, since what it answers must be seen by the person once and stay nowhere: not
in the state of a page, not in an address, not in a log line.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cmbcluster.errors import InvalidInput
from cmbcluster.http.actors import actor_of
from cmbcluster.http.forms import json_form
from cmbcluster.wiring import parts


async def make_token(request: Request) -> Response:
    """Make a token from ``name``, ``scopes`` and ``days`` (null: until revoked), and answer it this once."""
    actor = await actor_of(request)
    asked = await json_form(request)
    name, scopes, days = asked.get("name"), asked.get("scopes"), asked.get("days")
    if not isinstance(name, str):
        name = ""
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        scopes = []
    if days is not None and type(days) is not int:
        raise InvalidInput("expiry", "That is not an expiry to choose.", "Choose one of those offered.")
    made = await parts().api_tokens.make(actor, name, scopes, days)
    return JSONResponse({"token": made.secret, "name": made.view.name}, 201, headers={"Cache-Control": "no-store"})
