"""From the cookie of a request to the actor behind it."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.errors import NotSignedIn
from cmbcluster.http.operation import operation_id_of
from cmbcluster.wiring import parts


def client_address(request: Request) -> str:
    """The address the edge saw. What a client writes about itself never gets this far."""
    return request.client.host if request.client else ""


async def actor_or_none(request: Request) -> Actor | None:
    """The signed-in person, looked up for this very request."""
    actor = await parts().sessions.find(request.cookies.get(SESSION_COOKIE, ""))
    if actor is None:
        return None
    return replace(actor, address=client_address(request), operation_id=operation_id_of(request.scope))


async def actor_of(request: Request) -> Actor:
    """The signed-in person; raises NotSignedIn when there is none."""
    actor = await actor_or_none(request)
    if actor is None:
        raise NotSignedIn()
    return actor
