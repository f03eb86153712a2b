"""The way to an identity provider and back.

A person follows these addresses in a tab, so everything that goes wrong is a page with a way
on: never a trace, and never a redirect that could go round in circles. Somebody who is
signed in stays signed in, whatever comes back. The state, the code and the key of a sign-in
must never be logged.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.gate import SIGN_IN_COOKIE
from cmbcluster.errors import DependencyError, IdentityUnavailable, SignInFailed, TooManyRequests, UserError
from cmbcluster.http.actors import actor_of, actor_or_none, client_address, visitor
from cmbcluster.http.signing import signed_in_response, small_form
from cmbcluster.http.texts import browser_words, own_path
from cmbcluster.plain.frame import HEADERS, Act, document
from cmbcluster.services.rates import Limited
from cmbcluster.services.sign_ins import ATTEMPT_SECONDS, AlreadyUsed, Begun
from cmbcluster.wiring import parts

logger = structlog.get_logger(__name__)

UNAVAILABLE_STATUS = 503
RETRY_SECONDS = 30


def sign_in_cookie() -> str:
    """Name of the cookie that binds a sign-in to its browser. Over TLS no other host can set it."""
    return f"__Host-{SIGN_IN_COOKIE}" if parts().settings.over_tls else SIGN_IN_COOKIE


async def start_sign_in(request: Request) -> Response:
    """Send the browser to a provider."""
    provider_id = request.path_params["provider"]
    wanted = own_path((await small_form(request)).get("next", ""))
    try:
        await parts().rates.check(visitor(request), Limited.SIGN_IN)
        begun = await parts().sign_ins.begin(
            provider_id, browser_key=request.cookies.get(sign_in_cookie(), ""), next_path=wanted
        )
    except (UserError, DependencyError) as failed:
        return await _failed(request, failed, wanted)
    return _onward(request, begun)


async def start_link(request: Request) -> Response:
    """Send the browser to a provider, to add that account to the signed-in person."""
    actor = await actor_of(request)
    try:
        await parts().rates.check(visitor(request), Limited.SIGN_IN)
        begun = await parts().sign_ins.begin_link(
            actor, request.path_params["provider"], browser_key=request.cookies.get(sign_in_cookie(), "")
        )
    except (UserError, DependencyError) as failed:
        return await _failed(request, failed, "/settings")
    return _onward(request, begun)


async def come_back(request: Request) -> Response:
    """Take what a provider sent the browser back with, and sign the person in."""
    if request.method == "HEAD":
        # A link checker must not use a sign-in up.
        return Response(status_code=405, headers={"Allow": "GET"})
    wanted = "/"
    try:
        await parts().rates.check(visitor(request), Limited.CALLBACK)
        actor = await actor_or_none(request)
        query = request.query_params
        if len(query.keys()) != len(query.multi_items()):
            # Of two values each reader believes another.
            raise SignInFailed("This address says something twice.", "Sign in again from the front page.", why="twice")
        answer = dict(query.items())
        try:
            attempt = await parts().sign_ins.take(
                request.path_params["provider"],
                browser_key=request.cookies.get(sign_in_cookie(), ""),
                state=answer.get("state", ""),
            )
        except AlreadyUsed as used:
            if actor is None:
                raise
            return RedirectResponse(own_path(used.next_path), 303)
        wanted = attempt.next_path
        about = {
            "browser": browser_words(request.headers.get("user-agent", "")),
            "address": client_address(request),
        }
        if attempt.link_session_id is None:
            token = await parts().sign_ins.finish(attempt, answer, **about)
        else:
            token = await parts().sign_ins.finish_link(await actor_of(request), attempt, answer, **about)
    except (UserError, DependencyError) as failed:
        return await _failed(request, failed, wanted)
    await _end(actor)
    return signed_in_response(token, wanted)


async def _end(previous: Actor | None) -> None:
    """The cookie is about to be overwritten; its session would stay open with nobody to end it."""
    if previous is not None:
        await parts().sessions.sign_out(previous)


def _onward(request: Request, begun: Begun) -> Response:
    """A page that goes on by itself.

    A redirect would make the provider's addresses part of our own form's target, which the
    policy of our pages rightly forbids.
    """
    page = document(
        title=f"Going on to {begun.provider.name}",
        say="You sign in there and come back here.",
        acts=(Act(f"Go on to {begun.provider.name}", begun.address),),
        host=request.url.netloc,
        home="",
        onward=begun.address,
    )
    response = _page(page, 200)
    response.set_cookie(
        sign_in_cookie(),
        begun.browser_key,
        max_age=ATTEMPT_SECONDS,
        path="/",
        httponly=True,
        samesite="lax",
        secure=parts().settings.over_tls,
    )
    return response


async def _failed(request: Request, failed: UserError | DependencyError, wanted: str) -> Response:
    """What happened, and the way on."""
    provider_id = request.path_params["provider"]
    names = {each.id: each.name for each in parts().sign_ins.providers()}
    name = names.get(provider_id, "The provider")
    if isinstance(failed, UserError):
        what, then, status = failed.what, failed.then, failed.status
        why = failed.why if isinstance(failed, SignInFailed) else type(failed).__name__
    else:
        why = str(failed)
        status = UNAVAILABLE_STATUS
        if isinstance(failed, IdentityUnavailable):
            what, then = (
                f"{name} does not answer at the moment.",
                "Sign in again in a few minutes; nothing has changed.",
            )
        else:
            what, then = "A part of the platform does not answer at the moment.", "Sign in again in a few seconds."
    logger.warning(
        "sign-in failed",
        kind="denied",
        provider=provider_id if provider_id in names else "unknown",
        why=why,
        path=request.url.path,
    )
    again = "/" if wanted == "/" else f"/?next={quote(wanted, safe='')}"
    acts: tuple[Act, ...] = (Act("Sign in again", again), Act("Go to the front page", "/"))
    try:
        if await actor_or_none(request) is not None:
            then += " You are still signed in."
            acts = (Act("Go to Home", "/"),)
    except DependencyError:
        # Whether somebody is signed in cannot be known now; the page is true without it.
        pass
    page = document(title=what.rstrip("."), say=escape(then), acts=acts, host=request.url.netloc, home="")
    answer = _page(page, status)
    if isinstance(failed, TooManyRequests):
        answer.headers["Retry-After"] = str(failed.retry_after_seconds)
    elif status == UNAVAILABLE_STATUS:
        answer.headers["Retry-After"] = str(RETRY_SECONDS)
    return answer


def _page(page: bytes, status: int) -> Response:
    return Response(page, status, headers={name.decode(): value.decode() for name, value in HEADERS})
