"""The table of the API: path, method, the scope that a token needs, and what is answered.

Everything is made from this table, so a route without a declared scope cannot exist. The
caller is known before anything else of a request is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cmbcluster import __version__
from cmbcluster.domain.actors import Scope
from cmbcluster.http.api import environments, following, reading, reference, shapes
from cmbcluster.http.api.bodies import with_small_body
from cmbcluster.http.api.callers import find_caller
from cmbcluster.http.api.refusals import API_HANDLERS
from cmbcluster.services.rates import Limited
from cmbcluster.wiring import parts

BASE = "/api/v1"
BODY_BYTES = 64 * 1024
_ONE = "/environments/{environment}"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_REFUSALS: dict[int, str] = {
    401: "Not signed in, or the token is not valid.",
    403: "The token does not have the scope.",
    404: "There is no such thing, or it is not yours.",
    409: "A limit, or something that is so already.",
    413: "The body is too large.",
    422: "A value cannot be used; `field` names it.",
    429: "Too many requests; `Retry-After` says when to go on.",
    503: "A part of the platform does not answer.",
}


@dataclass(frozen=True)
class ApiWay:
    """One route. ``scope`` None: it is public, and says nothing about anybody."""

    method: str
    path: str
    scope: Scope | None
    endpoint: Callable[..., Awaitable[Response]]
    answers: Any = None
    status: int = 200
    media_type: str = "application/json"


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The OpenAPI document, made when it is first asked for."""
    return _document(build_api())


async def openapi(_request: Request) -> Response:
    """This API as an OpenAPI document."""
    return JSONResponse(document())


async def docs(request: Request) -> Response:
    """The same for people."""
    return reference.page(request, document())


API_WAYS: tuple[ApiWay, ...] = (
    ApiWay("GET", "/me", Scope.READ, reading.me, shapes.Me),
    ApiWay("GET", "/applications", Scope.READ, reading.applications, shapes.Applications),
    ApiWay("GET", "/applications/{application_id}", Scope.READ, reading.application, shapes.Application),
    ApiWay("GET", "/environments", Scope.READ, environments.environments, shapes.Environments),
    ApiWay("POST", "/environments", Scope.LAUNCH, environments.launch, shapes.EnvironmentDetail, 201),
    ApiWay("GET", _ONE, Scope.READ, environments.environment, shapes.EnvironmentDetail),
    ApiWay("PATCH", _ONE, Scope.LAUNCH, environments.change, shapes.EnvironmentDetail),
    ApiWay("DELETE", _ONE, Scope.LAUNCH, environments.delete, None, 204),
    ApiWay("GET", f"{_ONE}/wait", Scope.READ, following.wait, shapes.Waited),
    ApiWay("GET", f"{_ONE}/logs", Scope.READ, following.logs, shapes.Line, media_type="application/x-ndjson"),
    ApiWay("POST", f"{_ONE}/stop", Scope.LAUNCH, environments.stop, shapes.EnvironmentDetail),
    ApiWay("POST", f"{_ONE}/start", Scope.LAUNCH, environments.start, shapes.EnvironmentDetail),
    ApiWay("POST", f"{_ONE}/extend", Scope.LAUNCH, environments.extend, shapes.EnvironmentDetail),
    ApiWay("GET", "/activity", Scope.READ, reading.activity, shapes.Activity),
    ApiWay("GET", "/openapi.json", None, openapi),
    ApiWay("GET", "/docs", None, docs),
)
_WAYS = {(way.path, way.method): way for way in API_WAYS}


class DeclaredRoute(APIRoute):
    """A route of the table; any other has no scope and fails here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the question who calls."""
        handle = super().get_route_handler()
        way = _WAYS[(self.path, next(iter(self.methods or ())))]

        async def asked(request: Request) -> Response:
            if way.scope is not None:
                caller = await find_caller(request)
                caller.require(way.scope)
                await parts().rates.check(caller, Limited.API)
                request.state.caller = caller
            return await handle(await with_small_body(request, BODY_BYTES))

        return asked


def build_api() -> FastAPI:
    """The API as an application, to be mounted at ``BASE``."""
    api = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=API_HANDLERS,  # type: ignore[arg-type]
    )
    api.router.route_class = DeclaredRoute
    for way in API_WAYS:
        api.add_api_route(
            way.path,
            way.endpoint,
            methods=[way.method],
            status_code=way.status,
            response_model=None,
            responses=_responses(way),
            include_in_schema=way.scope is not None,
            operation_id=way.endpoint.__name__,
            openapi_extra={"x-scope": way.scope.value, "security": [{"token": []}]} if way.scope else None,
        )
    return api


def _responses(way: ApiWay) -> dict[int | str, dict[str, Any]]:
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": _PROBLEM} for status, text in _REFUSALS.items()
    }
    if way.answers is not None:
        told[way.status] = {
            "description": "As asked.",
            "content": {way.media_type: {"schema": {"$ref": f"#/components/schemas/{way.answers.__name__}"}}},
        }
    return told


def _document(api: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title="CMBCluster",
        version=__version__,
        description="What a person does on the pages, for scripts. Show a personal token as `Authorization: Bearer`.",
        routes=api.routes,
        servers=[{"url": BASE}],
    )
    components = made.setdefault("components", {})
    components.setdefault("schemas", {}).update(_schemas())
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return made


def _schemas() -> dict[str, Any]:
    """The shapes of all answers, and of the one refusal."""
    from pydantic import TypeAdapter

    wanted = {way.answers for way in API_WAYS if way.answers is not None} | {shapes.Problem}
    adapters: list[tuple[Any, Any, TypeAdapter[Any]]] = [
        (shape.__name__, "serialization", TypeAdapter(shape)) for shape in sorted(wanted, key=lambda s: s.__name__)
    ]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas
