"""The session's cookie at the border: admitted, renewed or taken away before anybody inside sees it.

Inside, a request carries its token in its scope and nowhere else, and a socket has one cookie,
``cmb_session``, or none: nobody inside reads a Cookie header that a browser wrote, so nobody can
read it differently. The token is there only when it was admitted just now. A request that
another site's page makes by itself, rather than a person who follows a link, is nobody's.
"""

from __future__ import annotations

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmbcluster.domain.gate import SESSION_COOKIE, named_cookies
from cmbcluster.errors import DependencyError
from cmbcluster.services.sessions import Admission
from cmbcluster.settings import Settings
from cmbcluster.wiring import parts

logger = structlog.get_logger(__name__)

_Headers = list[tuple[bytes, bytes]]
TOKEN_KEY = "cmb_session_token"  # noqa: S105 - a name
SESSION_KEY = "cmb_session_id"


def set_session_cookie(response: Response, token: str, settings: Settings) -> None:
    """Hand the browser a token."""
    response.raw_headers.append((b"set-cookie", _set_cookie(token, settings)))


def delete_session_cookie(response: Response, settings: Settings) -> None:
    """Take the token from the browser."""
    response.raw_headers.append((b"set-cookie", _set_cookie("", settings)))


def session_token_of(request: Request) -> str:
    """The admitted token of a request, or nothing."""
    return str(request.scope.get(TOKEN_KEY, ""))


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
        self._outer = settings.session_cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at the cookie of one request or one handshake."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        tokens = [] if _made_by_another_site(scope) else self._tokens(scope["headers"])
        admission = await self._admitted(tokens)
        renewed = admission.renewed if admission is not None else ""
        presented = tokens[0] if tokens and (admission is None or admission.actor is not None) else ""
        token = renewed or presented
        actor = admission.actor if admission is not None else None
        session_id = str(actor.session_id) if actor is not None and actor.session_id is not None else ""
        scope = {**scope, TOKEN_KEY: token, SESSION_KEY: session_id, "headers": self._without_ours(scope, token)}
        await self._app(scope, receive, self._renewing(send, renewed) if renewed else send)

    def _tokens(self, headers: _Headers) -> list[str]:
        """Every different value under the name that browsers know."""
        cookies = [text for header in _cookie_headers(headers) for name, text in named_cookies(header)
                   if name == self._outer]  # fmt: skip
        return sorted({text.partition("=")[2].strip() for text in cookies})

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

    def _without_ours(self, scope: Scope, token: str) -> _Headers:
        """The headers as they are seen inside: a socket's cookie is ours alone, a request's are the others."""
        headers: _Headers = scope["headers"]
        others = [(header, text) for header, text in headers if header != b"cookie"]
        if scope["type"] == "websocket":
            kept = [f"{SESSION_COOKIE}={token}"] if token else []
        else:
            ours = (self._outer, SESSION_COOKIE)
            kept = [text for header in _cookie_headers(headers) for name, text in named_cookies(header)
                    if name not in ours]  # fmt: skip
        return [*others, (b"cookie", "; ".join(kept).encode("latin-1"))] if kept else others

    def _renewing(self, send: Send, token: str) -> Send:
        cookie, outer = (b"set-cookie", _set_cookie(token, self._settings)), self._outer.encode()

        async def send_renewed(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                present = list(message.get("headers", ()))
                # What a route itself says about the cookie (signing in or out) goes before.
                if not any(name.lower() == b"set-cookie" and value.startswith(outer) for name, value in present):
                    message = {**message, "headers": [*present, cookie]}
            await send(message)

        return send_renewed


def _cookie_headers(headers: _Headers) -> list[str]:
    return [text.decode("latin-1") for header, text in headers if header == b"cookie"]


def _made_by_another_site(scope: Scope) -> bool:
    """Whether a page of another site, an environment's too, asks by itself: an image, a script, a fetch, a frame."""
    told = {name: value for name, value in scope["headers"] if name.startswith(b"sec-fetch-")}
    if told.get(b"sec-fetch-site") not in (b"cross-site", b"same-site"):
        return False
    return (told.get(b"sec-fetch-mode"), told.get(b"sec-fetch-dest")) != (b"navigate", b"document")
