"""How many sockets one network and one session may hold open, and how often a network may ask for one.

A socket costs a task, a state and memory for as long as it is open, so what is too much is
refused before anything behind it is made, with 429. Counts are this process's own; the rate of
asking is shared by all replicas. Must never close a socket that is open.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from cmbcluster.domain.actors import ANONYMOUS
from cmbcluster.errors import TooManyRequests
from cmbcluster.http.session_cookie import SESSION_KEY
from cmbcluster.services.rates import Limited, network_of
from cmbcluster.settings import Settings
from cmbcluster.wiring import parts

logger = structlog.get_logger(__name__)

# When one of them may have been closed, as far as anybody can tell.
TRY_AGAIN_SECONDS = 10
_TEXT = b"There are too many open pages, or too many attempts to open one. Close some and try again."


class SocketsOfNetworks:
    """Stands outside the session's cookie, so that a flood costs no look at the database."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._open = _OpenSockets(app, settings.sockets_of_address_at_once, "address", _network)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request, or one handshake if there is room for it."""
        if scope["type"] == "websocket" and self._open.has_room(scope):
            try:
                await parts().rates.check(replace(ANONYMOUS, address=_address(scope)), Limited.SOCKET)
            except TooManyRequests as refused:
                await _refuse(scope, receive, send, refused.retry_after_seconds)
                return
        await self._open(scope, receive, send)


class SocketsOfSessions:
    """Stands inside the session's cookie, where it is known whose socket it is. A visitor's has no session."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._open = _OpenSockets(app, settings.sockets_of_session_at_once, "session", _session)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request, or one handshake if there is room for it."""
        await self._open(scope, receive, send)


class _OpenSockets:
    def __init__(self, app: ASGIApp, most: int, of_what: str, whose: Callable[[Scope], str | None]) -> None:
        self._app = app
        self._most = most
        self._of_what = of_what
        self._whose = whose
        self._open: Counter[str] = Counter()

    def has_room(self, scope: Scope) -> bool:
        """Whether one more may be opened."""
        whose = self._whose(scope)
        return whose is None or self._open[whose] < self._most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        whose = self._whose(scope) if scope["type"] == "websocket" else None
        if whose is None:
            await self._app(scope, receive, send)
        elif not self.has_room(scope):
            logger.warning("too many open sockets", kind="denied", of=self._of_what, address=_address(scope))
            await _refuse(scope, receive, send, TRY_AGAIN_SECONDS)
        else:
            with self._counted(whose):
                await self._app(scope, receive, send)

    @contextlib.contextmanager
    def _counted(self, whose: str) -> Iterator[None]:
        self._open[whose] += 1
        try:
            yield
        finally:
            self._open[whose] -= 1
            if not self._open[whose]:
                del self._open[whose]


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


def _network(scope: Scope) -> str:
    return network_of(_address(scope))


def _session(scope: Scope) -> str | None:
    return scope.get(SESSION_KEY) or None


async def _refuse(scope: Scope, receive: Receive, send: Send, retry_after_seconds: int) -> None:
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1013, "reason": "too many sockets"})
        return
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(_TEXT)).encode()),
        (b"retry-after", str(retry_after_seconds).encode()),
    ]
    await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": _TEXT})
