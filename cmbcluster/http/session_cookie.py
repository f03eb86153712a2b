"""The session's cookie at the border: admitted, renewed or taken away before anybody inside sees it.

Behind this middleware a request carries the cookie ``cmb_session`` only when its token was
admitted just now, with the newest token in it; the name that browsers know may be a stricter
one. It must never pass on a cookie of that name that it has not looked at, and never let two
of them stand side by side.
"""

from __future__ import annotations

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.errors import DependencyError
from cmbcluster.services.sessions import Admission
from cmbcluster.settings import Settings
from cmbcluster.wiring import parts

logger = structlog.get_logger(__name__)

_Headers = list[tuple[bytes, bytes]]
_INNER = SESSION_COOKIE.encode()


def set_session_cookie(response: Response, token: str, settings: Settings) -> None:
    """Hand the browser a token."""
    response.raw_headers.append((b"set-cookie", _set_cookie(token, settings)))


def delete_session_cookie(response: Response, settings: Settings) -> None:
    """Take the token from the browser."""
    response.raw_headers.append((b"set-cookie", _set_cookie("", settings)))


def session_token_of(request: Request) -> str:
    """The admitted token of a request, or nothing."""
    return request.cookies.get(SESSION_COOKIE, "")


def _set_cookie(token: str, settings: Settings) -> bytes:
    # It lives as long as the session may; what it is worth is decided here each time.
    life = settings.session_absolute_seconds if token else 0
    secure = "; Secure" if settings.public_url.startswith("https:") else ""
    return f"{settings.session_cookie}={token}; Max-Age={life}; Path=/; HttpOnly; SameSite=Lax{secure}".encode()


class SessionCookies:
    """Wraps the web application, inside the shell that refuses other sites."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._outer = settings.session_cookie.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at the cookie of one request or one handshake."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        tokens = self._tokens(scope["headers"])
        admission = await self._admitted(tokens)
        renewed = admission.renewed if admission is not None else ""
        presented = tokens[0] if tokens and (admission is None or admission.actor is not None) else ""
        if tokens or _mentions(scope["headers"]):
            scope = {**scope, "headers": self._with(scope["headers"], renewed or presented)}
        await self._app(scope, receive, self._renewing(send, renewed) if renewed else send)

    def _tokens(self, headers: _Headers) -> list[str]:
        """Every different value under the name that browsers know."""
        values = {
            value.strip().decode("latin-1")
            for header, text in headers
            if header == b"cookie"
            for name, _, value in (pair.partition(b"=") for pair in text.split(b";"))
            if name.strip() == self._outer
        }
        return sorted(values)

    async def _admitted(self, tokens: list[str]) -> Admission | None:
        # Of two, one was put there by somebody else, and nothing says which.
        if len(tokens) != 1:
            return Admission()
        try:
            return await parts().sessions.admit(tokens[0])
        except DependencyError:
            # Nothing is known, so nothing is taken away; whoever needs the session meets the same error.
            logger.warning("a session could not be looked up")
            return None

    def _with(self, headers: _Headers, token: str) -> _Headers:
        """The headers with one cookie of ours, or none."""
        pairs = []
        for header, text in headers:
            if header == b"cookie":
                pairs += [pair.strip() for pair in text.split(b";")]
        kept = [pair for pair in pairs if pair and pair.partition(b"=")[0].strip() not in (self._outer, _INNER)]
        if token:
            kept.append(_INNER + b"=" + token.encode("latin-1"))
        others = [(header, text) for header, text in headers if header != b"cookie"]
        return [*others, (b"cookie", b"; ".join(kept))] if kept else others

    def _renewing(self, send: Send, token: str) -> Send:
        cookie = (b"set-cookie", _set_cookie(token, self._settings))

        async def send_renewed(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                present = list(message.get("headers", ()))
                # What a route itself says about the cookie (signing in or out) goes before.
                if not any(name.lower() == b"set-cookie" and value.startswith(self._outer) for name, value in present):
                    message = {**message, "headers": [*present, cookie]}
            await send(message)

        return send_renewed


def _mentions(headers: _Headers) -> bool:
    return any(header == b"cookie" and _INNER in text for header, text in headers)
