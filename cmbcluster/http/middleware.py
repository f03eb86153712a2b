"""What holds for every request to the dashboard, pages and sockets included.

Outermost of all: refuses what comes from another site, gives each request its operation
id, and sets the headers that browsers act on. It must never let a WebSocket in whose page
is not ours.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.http.operation import keep_operation_id, new_operation_id

logger = structlog.get_logger(__name__)

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# The framework's own way of uploading knows no owner, and its event socket is a WebSocket only.
_CLOSED_TO_HTTP = ("/_event", "/_upload")
_NO_STORE = ("/api/", "/auth/", "/open/", "/healthz", "/ping", "/_health")
_ASSETS = "/assets/"
_API = "/api/v1/"
_REFUSED = b"This request came from another site, so it was not carried out. Use the page itself."


class Shell:
    """Wraps the whole web application."""

    def __init__(self, app: ASGIApp, public_url: str, policy: str) -> None:
        self._app = app
        self._origin = public_url
        self._always: tuple[tuple[bytes, bytes], ...] = (
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
            (b"content-security-policy", policy.encode("latin-1")),
        )
        if public_url.startswith("https:"):
            self._always += ((b"strict-transport-security", b"max-age=31536000"),)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, name and pass on one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        operation_id = new_operation_id()
        keep_operation_id(scope, operation_id)
        headers = Headers(scope=scope)
        if scope["type"] == "websocket":
            if headers.getlist("origin") != [self._origin]:
                logger.warning(
                    "socket from another site refused",
                    kind="denied",
                    origin=headers.get("origin", ""),
                    path=scope["path"],
                )
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": "wrong origin"})
                return
            await self._app(scope, receive, send)
            return
        with structlog.contextvars.bound_contextvars(operation_id=operation_id):
            await self._http(scope, receive, self._completed(scope, operation_id, send), headers)

    async def _http(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        if scope["path"].startswith(_CLOSED_TO_HTTP):
            await _plain(send, 404, b"There is nothing at this address.")
        elif scope["method"] not in _SAFE_METHODS and not self._own(headers) and not _by_token(scope, headers):
            logger.warning(
                "request from another site refused", kind="denied", origin=headers.get("origin", ""), path=scope["path"]
            )
            await _plain(send, 403, _REFUSED)
        else:
            await self._app(scope, receive, send)

    def _own(self, headers: Headers) -> bool:
        """Whether our own page makes this request. Without a sign of it, it does not count as ours."""
        origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
        # A browser sends each once; of several, each reader believes another.
        if len(origins) > 1 or len(sites) > 1:
            return False
        if sites:
            return sites == ["same-origin"] and origins in ([], [self._origin])
        return origins == [self._origin]

    def _completed(self, scope: Scope, operation_id: str, send: Send) -> Send:
        path: str = scope["path"]

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = list(message.get("headers", ()))
                present.append((b"x-request-id", operation_id.encode()))
                message = {**message, "headers": self._with_missing(present, path, message["status"])}
            await send(message)

        return send_completed

    def _with_missing(
        self, present: list[tuple[bytes, bytes]], path: str, status: int
    ) -> Iterable[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in present}
        added = [(name, value) for name, value in self._always if name not in names]
        if path.startswith(_ASSETS) and status == 200:
            present = [(name, value) for name, value in present if name.lower() != b"cache-control"]
            added.append((b"cache-control", b"public, max-age=31536000, immutable"))
        elif b"cache-control" not in names:
            kept = b"no-store" if path.startswith(_NO_STORE) or status >= 400 else b"no-cache"
            added.append((b"cache-control", kept))
        return [*present, *added]


def _by_token(scope: Scope, headers: Headers) -> bool:
    """Whether a script asks the API with a token of its own.

    No page of another site can send this header without asking first, and it is never granted;
    without a session's cookie there is nothing to misuse either.
    """
    shows = headers.get("authorization", "").partition(" ")[0].lower() in ("bearer", "token")
    cookies = "; ".join(headers.getlist("cookie"))
    return scope["path"].startswith(_API) and shows and SESSION_COOKIE not in cookies


async def _plain(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
