"""Signing in and out, and crossing over to an environment's own host.

A session's token lives in an HttpOnly cookie and nowhere else: never in an address, a page
or a log line.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs, quote

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from cmbcluster.errors import InvalidInput, NotFound, TooManyRequests, UserError
from cmbcluster.http.actors import actor_of, actor_or_none, client_address, visitor
from cmbcluster.http.session_cookie import delete_session_cookie, set_session_cookie
from cmbcluster.http.texts import browser_words, own_path
from cmbcluster.plain.frame import HEADERS, Act, document
from cmbcluster.services.rates import Limited
from cmbcluster.wiring import parts

logger = structlog.get_logger(__name__)

FORM_BYTES = 8192


async def small_form(request: Request) -> dict[str, str]:
    """A small form. Read by us, since a general parser spools whatever it is sent to disk."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > FORM_BYTES:
            raise InvalidInput("form", "The form is too long.", "Reload the page and try again.")
    fields = parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    return {name: values[0] for name, values in fields.items()}


async def sign_in_development(request: Request) -> Response:
    """Sign in as one of the test people."""
    here = parts()
    if here.settings.identity != "development":
        raise HTTPException(404)
    await here.rates.check(visitor(request), Limited.SIGN_IN)
    form = await small_form(request)
    try:
        identity = here.identity.sign_in(form.get("person", ""))
    except NotFound:
        logger.warning("sign-in failed", kind="denied", why="no such person", address=client_address(request))
        raise
    previous = await actor_or_none(request)
    token = await here.sessions.sign_in(
        identity, browser=browser_words(request.headers.get("user-agent", "")), address=client_address(request)
    )
    if previous is not None:
        # The cookie is about to be overwritten; its session would stay open with nobody to end it.
        await here.sessions.sign_out(previous)
    return signed_in_response(token, form.get("next", ""))


def signed_in_response(token: str, wanted: str) -> Response:
    """To the page somebody wanted, with the session's token in its cookie."""
    response = RedirectResponse(own_path(wanted), 303)
    set_session_cookie(response, token, parts().settings)
    return response


async def sign_out(request: Request) -> Response:
    """End the present session; its cookie opens nothing any more, also on open sockets."""
    actor = await actor_or_none(request)
    if actor is not None:
        await parts().sessions.sign_out(actor)
    response = RedirectResponse("/", 303, headers={"Clear-Site-Data": '"cookies"'})
    delete_session_cookie(response, parts().settings)
    return response


async def standing(request: Request) -> Response:
    """When the session would end by itself. Asking is no activity; saying so (POST) is."""
    here = request.method == "POST"
    actor = await actor_of(request, touch=here)
    sessions = parts().sessions
    view = await (sessions.stay(actor) if here else sessions.standing(actor))
    return JSONResponse(
        {
            "ends_in_seconds": round((view.ends_at - view.now).total_seconds(), 1),
            "latest_in_seconds": round((view.latest_at - view.now).total_seconds(), 1),
        }
    )


async def open_environment(request: Request) -> Response:
    """Go to an environment's own host with a one-time code."""
    if request.method == "HEAD":
        # A link checker must not make codes.
        return Response(status_code=405, headers={"Allow": "GET"})
    wanted = request.path_params["environment"]
    actor = await actor_or_none(request)
    if actor is None:
        return RedirectResponse("/?next=" + quote(f"/open/{quote(wanted, safe='')}", safe=""), 303)
    try:
        await parts().rates.check(actor, Limited.OPEN)
        address = await parts().access.mint(actor, wanted)
    except (NotFound, TooManyRequests) as refusal:
        return _sorry(request, refusal)
    return RedirectResponse(address, 303, headers={"Referrer-Policy": "no-referrer"})


def _sorry(request: Request, refusal: UserError) -> Response:
    """A page, since a person follows this link in a tab of its own."""
    page = document(
        title=refusal.what.rstrip("."),
        say=escape(refusal.then),
        acts=(Act("Go to Home", "/"),),
        host=request.url.netloc,
        home="",
    )
    headers = {name.decode(): value.decode() for name, value in HEADERS}
    return Response(page, refusal.status, headers=headers)
