"""The table of our own routes: path, methods, who may use it, and whether it changes anything.

Everything is made from this table, so a route without a declared permission cannot exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cmbcluster import __version__
from cmbcluster.http import exports, providers, registries, signing, tokens
from cmbcluster.http.actors import actor_of
from cmbcluster.http.api.table import BASE, build_api
from cmbcluster.http.problems import HANDLERS, problem
from cmbcluster.wiring import parts

Endpoint = Callable[[Request], Awaitable[Response]]


class Permission(StrEnum):
    """Who may use a route. Services check the objects themselves."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"


@dataclass(frozen=True)
class Way:
    """One route."""

    path: str
    method: str
    permission: Permission
    endpoint: Endpoint
    changes: bool = False  # A GET that changes something is declared here, with its reason beside it.
    quiet: bool = False  # Pages ask it by themselves, so asking is no activity of the person.


async def health(request: Request) -> Response:
    """Whether this process can do its work."""
    try:
        parts()
    except RuntimeError:
        return problem(request, 503, "The platform is starting or stopping.", "Try again in a few seconds.")
    return JSONResponse({"status": "ok", "version": __version__})


async def nothing_here(_request: Request) -> Response:
    """An unknown address below one of ours: a problem document instead of a page."""
    raise HTTPException(404)


WAYS: tuple[Way, ...] = (
    Way("/healthz", "GET", Permission.PUBLIC, health),
    Way("/auth/development", "POST", Permission.PUBLIC, signing.sign_in_development, changes=True),
    Way("/auth/sign-out", "POST", Permission.PUBLIC, signing.sign_out, changes=True),
    Way("/auth/standing", "GET", Permission.SIGNED_IN, signing.standing, quiet=True),
    Way("/auth/standing", "POST", Permission.SIGNED_IN, signing.standing, changes=True),
    Way("/auth/{provider}/start", "POST", Permission.PUBLIC, providers.start_sign_in, changes=True),
    Way("/auth/{provider}/link", "POST", Permission.SIGNED_IN, providers.start_link, changes=True),
    # The provider sends the browser back by GET; the state in it works once, in that browser alone.
    Way("/auth/{provider}/callback", "GET", Permission.PUBLIC, providers.come_back, changes=True),
    # Makes a one-time code that is worthless without the person's own session.
    Way("/open/{environment}", "GET", Permission.PUBLIC, signing.open_environment, changes=True),
    Way("/api/environments/{environment_id:uuid}/log", "GET", Permission.SIGNED_IN, exports.environment_log),
    Way(
        "/api/environments/{environment_id:uuid}/log/download",
        "GET",
        Permission.SIGNED_IN,
        exports.environment_log_download,
    ),
    Way("/api/tokens", "POST", Permission.SIGNED_IN, tokens.make_token, changes=True),
    Way("/api/registries", "POST", Permission.SIGNED_IN, registries.enter_account, changes=True),
    Way("/api/activity.csv", "GET", Permission.SIGNED_IN, exports.activity_csv),
    Way("/api/{path:path}", "GET", Permission.PUBLIC, nothing_here),
    Way("/auth/{path:path}", "GET", Permission.PUBLIC, nothing_here),
)


def _guarded(way: Way) -> Endpoint:
    if way.permission is Permission.PUBLIC:
        return way.endpoint

    async def only_signed_in(request: Request) -> Response:
        await actor_of(request, touch=not way.quiet)
        return await way.endpoint(request)

    return only_signed_in


def build_routes() -> Starlette:
    """Our routes as an application."""
    # The API has a table of its own, and goes before the ways that catch what is left.
    routes: list[BaseRoute] = [Mount(BASE, build_api(), name="api")]
    routes += [Route(way.path, _guarded(way), methods=[way.method], name=f"{way.method} {way.path}") for way in WAYS]
    return Starlette(routes=routes, exception_handlers=HANDLERS)


class OwnRoutesFirst:
    """Our routes and the pages' application side by side, so that neither goes through the other.

    A request belongs to our routes by the first word of its path, whether or not one of them fits.
    """

    def __init__(self, pages: ASGIApp) -> None:
        self._pages = pages
        self._routes = build_routes()
        self._words = frozenset(_first_word(way.path) for way in WAYS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        own = scope["type"] == "http" and _first_word(scope["path"]) in self._words
        await (self._routes if own else self._pages)(scope, receive, send)


def _first_word(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]
