"""From the cookie of a request to the actor behind it."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from cmbcluster.domain.actors import ANONYMOUS, Actor
from cmbcluster.errors import NotSignedIn
from cmbcluster.http.operation import operation_id_of
from cmbcluster.http.session_cookie import session_token_of
from cmbcluster.wiring import parts


def client_address(request: Request) -> str:
    """The address the edge saw. What a client writes about itself never gets this far."""
    return request.client.host if request.client else ""


def visitor(request: Request) -> Actor:
    """Whoever makes the request, as far as it is known before anybody has signed in: an address."""
    return replace(ANONYMOUS, address=client_address(request), operation_id=operation_id_of(request.scope))


async def actor_or_none(request: Request, *, touch: bool = True) -> Actor | None:
    """The signed-in person, looked up for this very request; ``touch`` false when they did not cause it."""
    actor = await parts().sessions.find(session_token_of(request), touch=touch)
    if actor is None:
        return None
    return replace(actor, address=client_address(request), operation_id=operation_id_of(request.scope))


async def actor_of(request: Request, *, touch: bool = True) -> Actor:
    """The signed-in person; raises NotSignedIn when there is none."""
    actor = await actor_or_none(request, touch=touch)
    if actor is None:
        raise NotSignedIn()
    return actor
