"""Who calls the API: the person of a token, or the one who is signed in with a browser.

A request that shows a token is judged by it alone, whatever cookie comes along. What was shown
must never reach a log line or an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, TypeVar

from fastapi import Depends
from starlette.requests import Request

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.tokens import bearer_of
from cmbcluster.errors import NotSignedIn
from cmbcluster.http.actors import actor_of, client_address, visitor
from cmbcluster.http.operation import operation_id_of
from cmbcluster.http.session_cookie import session_token_of
from cmbcluster.http.standing import while_alive, while_signed_in
from cmbcluster.services.rates import Limited
from cmbcluster.wiring import parts

NOT_VALID = (
    "This token is not valid: it is revoked, expired or mistyped.",
    "Make a new one in Settings, under Tokens.",
)
RESTS = (
    "This token rests, since its person has not signed in for a long time.",
    "Sign in once with a browser; the token works again then.",
)

Item = TypeVar("Item")


def shows_token(request: Request) -> bool:
    """Whether the request means to be judged by a token."""
    return any(_is_bearer(value) for value in request.headers.getlist("authorization"))


def _is_bearer(authorization: str) -> bool:
    return authorization.strip().partition(" ")[0].lower() in ("bearer", "token")


def _secret_of(request: Request) -> str:
    values = request.headers.getlist("authorization")
    # A client sends one; of several, each reader believes another.
    return bearer_of(values[0]) if len(values) == 1 else ""


async def find_caller(request: Request) -> Actor:
    """The actor behind this very request; raises NotSignedIn when there is none."""
    if not shows_token(request):
        return await actor_of(request)
    actor = await parts().api_tokens.find(_secret_of(request))
    if actor is None and await parts().api_tokens.rests(_secret_of(request)):
        raise NotSignedIn(*RESTS)
    if actor is None:
        await parts().rates.check(visitor(request), Limited.WRONG_TOKEN)
        raise NotSignedIn(*NOT_VALID)
    return replace(actor, address=client_address(request), operation_id=operation_id_of(request.scope))


async def _caller(request: Request) -> Actor:
    # Not a plain function, which would be given to another thread.
    actor: Actor = request.state.caller
    return actor


Caller = Annotated[Actor, Depends(_caller)]


def while_welcome(items: AsyncIterator[Item], request: Request, actor: Actor) -> AsyncIterator[Item]:
    """``items``, as long as the token or the session of the request lives."""
    if actor.token_id is None:
        return while_signed_in(items, actor, session_token_of(request))
    secret = _secret_of(request)

    async def lives() -> bool:
        return await parts().api_tokens.find(secret, touch=False) is not None

    return while_alive(items, f"token:{actor.token_id}", lives)
