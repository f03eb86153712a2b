"""Every error of our routes as ``application/problem+json``: two sentences and an id, never a traceback."""

from __future__ import annotations

import re

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cmbcluster.errors import DependencyError, InvalidInput, TooManyRequests, UserError
from cmbcluster.http.operation import operation_id_of

logger = structlog.get_logger(__name__)

_SENTENCES = {
    404: ("There is nothing at this address.", "Check it, or go to Home."),
    405: ("This address does not take that method.", "See which it takes in the Allow header."),
    413: ("That is too much at once.", "Send at most 64 KiB."),
}
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 500: "failed", 503: "unavailable"}
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def problem(
    request: Request,
    status: int,
    what: str,
    then: str = "",
    *,
    code: str = "",
    field: str = "",
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document. ``title`` says what happened, ``detail`` what to do next, ``code`` is for programs."""
    content = {
        "type": "about:blank",
        "status": status,
        "title": what,
        "detail": then,
        "code": code or _CODES.get(status, "refused"),
        "operation_id": operation_id_of(request.scope),
    }
    if field:
        content["field"] = field
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


async def user_error(request: Request, error: Exception) -> Response:
    """An error whose text is written for the person."""
    if not isinstance(error, UserError):
        raise error
    field = error.field if isinstance(error, InvalidInput) else ""
    headers = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, TooManyRequests) else None
    return problem(request, error.status, error.what, error.then, code=_code(error), field=field, headers=headers)


def _code(error: UserError) -> str:
    """The kind of an error in the words of the error tree: ``quota_exceeded``."""
    return _CAPITAL.sub("_", type(error).__name__).lower()


async def dependency_error(request: Request, error: Exception) -> Response:
    """Something we rely on did not answer."""
    logger.warning("a dependency failed", path=request.url.path, error=str(error))
    return problem(
        request,
        503,
        "A part of the platform does not answer at the moment.",
        "Try again in a few seconds.",
        headers={"Retry-After": "5"},
    )


async def http_error(request: Request, error: Exception) -> Response:
    """What the router itself refuses."""
    if not isinstance(error, HTTPException):
        raise error
    what, then = _SENTENCES.get(error.status_code, (str(error.detail), ""))
    return problem(request, error.status_code, what, then, headers=dict(error.headers or {}))


async def unexpected(request: Request, error: Exception) -> Response:
    """A mistake of ours: the log has the details, the person gets the id to quote."""
    logger.error("a request failed", path=request.url.path, exc_info=error)
    return problem(
        request,
        500,
        "Something failed on our side.",
        "Try again; if it happens again, tell your admin the operation id.",
    )


HANDLERS = {
    UserError: user_error,
    DependencyError: dependency_error,
    HTTPException: http_error,
    Exception: unexpected,
}
