"""What the API refuses, as problem documents with the sentences of the pages."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cmbcluster.errors import NotSignedIn
from cmbcluster.http.api.callers import shows_token
from cmbcluster.http.problems import HANDLERS, http_error, problem, user_error

EXPECTED = "See /api/v1/docs for what is expected."
NO_JSON = ("The body is not JSON of the right shape.", EXPECTED)
CHALLENGE = 'Bearer realm="CMBCluster"'


async def not_signed_in(request: Request, error: Exception) -> Response:
    """Nobody is behind the request: said in the words of the standard too."""
    refusal = await user_error(request, error)
    refusal.headers["WWW-Authenticate"] = CHALLENGE + (', error="invalid_token"' if shows_token(request) else "")
    return refusal


async def wrong_shape(request: Request, error: Exception) -> Response:
    """A value is missing or of the wrong kind, which no form of ours could send."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    field = _field(first["loc"])
    if not field:
        return problem(request, 422, *NO_JSON, code="invalid_input", field="body")
    return problem(request, 422, f"{field}: {first['msg']}.", EXPECTED, code="invalid_input", field=field)


async def http_refusal(request: Request, error: Exception) -> Response:
    """What the router refuses, and a body that is no text at all."""
    if isinstance(error, HTTPException) and error.status_code == 400:
        return problem(request, 422, *NO_JSON, code="invalid_input", field="body")
    return await http_error(request, error)


def _field(location: tuple[Any, ...]) -> str:
    """The name of the value: ``custom.port``."""
    named = [str(part) for part in location[1:] if isinstance(part, str)]
    return ".".join(named)[:100]


API_HANDLERS = {
    **HANDLERS,
    NotSignedIn: not_signed_in,
    HTTPException: http_refusal,
    RequestValidationError: wrong_shape,
}
