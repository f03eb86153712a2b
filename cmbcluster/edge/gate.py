"""The gate: answers, for every request to an environment's host, may it pass and where to.

The edge asks ``/authorize`` over a socket that only it can reach and does what the answer
says. Whatever goes wrong here, the answer must never be a pass; and a person who may not
open an environment must not learn whether it exists.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol
from urllib.parse import parse_qs, quote, unquote

import structlog
from starlette.types import Receive, Scope, Send

from cmbcluster.domain.gate import (
    ENVIRONMENT_COOKIE,
    SESSION_COOKIE,
    SIGN_IN_COOKIE,
    GateAnswer,
    Verdict,
    cookie_value,
    named_cookies,
)
from cmbcluster.domain.tokens import bearer_of
from cmbcluster.edge import pages
from cmbcluster.edge.relay import Relay
from cmbcluster.errors import UserError
from cmbcluster.plain.frame import HEADERS
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)

RETURN_COOKIE = "cmb_return"
RETURN_SECONDS = 300
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", ""})
_OURS = frozenset({ENVIRONMENT_COOKIE, SESSION_COOKIE, SIGN_IN_COOKIE, RETURN_COOKIE})
# A path of this host and nothing else: no second slash, backslash or control character.
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]{0,2000}")
_TEXT: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_HeaderList = list[tuple[bytes, bytes]]
RETRY_SECONDS = b"5"
_REFUSALS = {
    Verdict.LAUNCHING: (pages.launching, b"This environment is on its way. Try again in a few seconds."),
    Verdict.AT_REST: (pages.at_rest, b"This environment is not running. Start it from its page."),
    Verdict.UNSEEN: (pages.unseen, b"We cannot see this environment at the moment. Try again in a few seconds."),
}


class Access(Protocol):
    """The part of the access service that the gate asks."""

    async def authorize(self, host: str, cookie: str, *, token: str = "", touch: bool = True) -> GateAnswer:
        """May a request to ``host`` with this Cookie header or personal token pass, and where to?

        ``touch``: if it may, its person did something just now.
        """

    async def redeem(self, host: str, code: str) -> str:
        """The value of the environment's cookie for a one-time code; UserError when it is no good."""


class Request:
    """What the gate looks at in a request."""

    def __init__(self, scope: Scope) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.query: str = scope["query_string"].decode("latin-1")
        self._headers: dict[bytes, bytes] = {}
        cookies = []
        self._origins: list[str] = []
        authorizations = []
        for name, value in scope["headers"]:
            if name == b"cookie":
                cookies.append(value.decode("latin-1"))
            elif name == b"origin":
                self._origins.append(value.decode("latin-1"))
            elif name == b"authorization":
                authorizations.append(value.decode("latin-1"))
            else:
                self._headers[name] = value
        self.cookie = "; ".join(cookies)
        # A client sends one; of several, each reader believes another.
        self.token = bearer_of(authorizations[0]) if len(authorizations) == 1 else ""
        self.host = self.header(b"host").lower()

    def header(self, name: bytes) -> str:
        """Value of a header, or nothing."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def wants_page(self) -> bool:
        """A person's browser is going there, rather than a program fetching something."""
        if mode := self.header(b"sec-fetch-mode"):
            return mode == "navigate"
        return "text/html" in self.header(b"accept")

    @property
    def is_deed(self) -> bool:
        """A person did something: went somewhere or sent something off.

        What an open page fetches by itself is none, nor is a frame that it loads again, nor the
        opening of a WebSocket; what is then said over it is for the relay to see. These headers
        are the browser's own, which no script of an application's page can write.
        """
        if self.upgrades:
            return False
        if self.header(b"x-forwarded-method") not in _SAFE_METHODS:
            return True
        if self.header(b"sec-fetch-user") == "?1":
            return True
        return self.wants_page and self.header(b"sec-fetch-dest") in ("document", "")

    @property
    def upgrades(self) -> bool:
        """It is the handshake of a WebSocket, as the edge itself saw it."""
        return bool(self.header(b"x-env-upgrade"))

    @property
    def foreign(self) -> bool:
        """A page of another host makes it, so the cookie says nothing about that page."""
        # A browser sends one Origin; of several, each reader believes another.
        if len(self._origins) > 1:
            return True
        return any(origin and origin.partition("://")[2].lower() != self.host for origin in self._origins)


def without_ours(cookie: str) -> str:
    """The Cookie header as the application may see it."""
    return "; ".join(text for name, text in named_cookies(cookie) if not _is_ours(name or text.lstrip("= \t")))


def _is_ours(name: str) -> bool:
    # A cookie without a name may have a value that somebody reads as name and value.
    plain = name.partition("=")[0].strip(' \t"').lower()
    return plain.removeprefix("__host-").removeprefix("__secure-") in _OURS


def local_path(path: str) -> str:
    """``path`` when it stays on this host and is not one of ours, else the root."""
    if not _LOCAL_PATH.fullmatch(path) or path == "/.cmb" or path.startswith("/.cmb/"):
        return "/"
    return path


class Gate:
    """The ASGI application of the gate."""

    def __init__(self, access: Access, settings: Settings, relay: Relay | None = None) -> None:
        self._access = access
        self._settings = settings
        self._relay = relay
        self._home = settings.public_url
        self._secure = "; Secure" if settings.over_tls else ""
        self._ways: dict[str, Callable[[Request, Send], Awaitable[None]]] = {
            "/authorize": self._authorize,
            "/.cmb/enter": self._enter,
            "/unreachable": self._unreachable,
        }

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        way = self._ways.get(request.path, self._nothing_here)
        started = False

        async def remember(message: dict[str, object]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await way(request, remember)  # type: ignore[arg-type]
        except Exception:
            logger.exception("gate could not answer", host=request.host, path=request.path)
            if not started:
                await self._unreachable(request, send)

    async def _authorize(self, request: Request, send: Send) -> None:
        if request.upgrades and request.foreign:
            await _reply(send, 403, b"This address answers only its own pages.", _TEXT)
            return
        # A script that comes with a token uses it, whatever it asks for.
        touch = bool(request.token) or request.is_deed
        answer = await self._access.authorize(request.host, request.cookie, token=request.token, touch=touch)
        if answer.verdict is Verdict.PASS and answer.host and answer.port:
            await self._pass(request, answer, send)
        elif answer.verdict is Verdict.SIGN_IN:
            await self._sign_in(request, answer, send)
        else:
            await self._refuse(request, answer, send)

    async def _pass(self, request: Request, answer: GateAnswer, send: Send) -> None:
        upstream = f"[{answer.host}]:{answer.port}" if ":" in answer.host else f"{answer.host}:{answer.port}"
        headers = [(b"x-env-cookie", without_ours(request.cookie).encode("latin-1"))]
        if request.upgrades and self._relay is not None:
            ticket = self._relay.ticket(request.host, request.cookie, request.token, answer)
            headers.append((b"x-env-ticket", ticket.encode()))
            upstream = self._relay.upstream
        headers.append((b"x-env-upstream", upstream.encode()))
        await _reply(send, 200, b"", headers)

    async def _sign_in(self, request: Request, answer: GateAnswer, send: Send) -> None:
        if request.token:
            words = b"This token is not valid: it is revoked, expired or mistyped. Make a new one in CMBCluster."
            await _reply(send, 401, words, (*_TEXT, (b"www-authenticate", b'Bearer error="invalid_token"')))
            return
        if not (request.wants_page and answer.open_url):
            await _reply(send, 401, b"You are not signed in to this environment. Open it from CMBCluster.", _TEXT)
            return
        back = local_path(request.header(b"x-forwarded-uri"))
        headers: _HeaderList = [(b"location", answer.open_url.encode()), (b"cache-control", b"no-store")]
        if back != "/":
            cookie = (
                f"{RETURN_COOKIE}={quote(back, safe='')}; Max-Age={RETURN_SECONDS}; "
                f"Path=/.cmb/enter; HttpOnly; SameSite=Lax{self._secure}"
            )
            headers.append((b"set-cookie", cookie.encode()))
        await _reply(send, 303, b"", headers)

    async def _refuse(self, request: Request, answer: GateAnswer, send: Send) -> None:
        environment = answer.environment
        if answer.verdict is Verdict.NO_SCOPE:
            words = b"This token does not have the scope launch. Make one that has it in CMBCluster."
            await _reply(send, 403, words, (*_TEXT, (b"www-authenticate", b'Bearer error="insufficient_scope"')))
            return
        if answer.verdict is Verdict.NOT_YOURS:
            page = pages.not_yours(host=request.host, home=self._home)
            await _say(request, send, 404, page, b"There is no such environment, or it is not yours.")
            return
        if environment is None:
            # A pass without an address, or a verdict without its environment: nothing to show.
            await self._unreachable(request, send)
            return
        draw, words = _REFUSALS.get(answer.verdict, _REFUSALS[Verdict.UNSEEN])
        if answer.guest:
            draw = pages.for_guest
            if answer.verdict is Verdict.AT_REST:
                words = b"This environment is not running. Only its owner can start it."
        await _say(request, send, 503, draw(environment, host=request.host, home=self._home), words)

    async def _enter(self, request: Request, send: Send) -> None:
        """Swap a one-time code for this host's own cookie."""
        if request.method != "GET":
            # A HEAD of some link checker must not use the code up.
            await _reply(send, 405, b"", [(b"allow", b"GET")])
            return
        code = parse_qs(request.query).get("code", [""])[0]
        try:
            if not code or len(code) > 512:
                raise UserError("This link has no code in it.", "Open the environment from CMBCluster.")
            value = await self._access.redeem(request.host, code)
        except UserError as refusal:
            again = (await self._access.authorize(request.host, "", touch=False)).open_url
            page = pages.refused(refusal.what, refusal.then, host=request.host, home=self._home, again=again)
            await _reply(send, 403, page, HEADERS)
            return
        back = local_path(unquote(cookie_value(request.cookie, RETURN_COOKIE)))
        life = self._settings.environment_cookie_seconds
        cookies = (
            f"{ENVIRONMENT_COOKIE}={value}; Max-Age={life}; Path=/; HttpOnly; SameSite=Lax{self._secure}",
            f"{RETURN_COOKIE}=; Max-Age=0; Path=/.cmb/enter; HttpOnly; SameSite=Lax{self._secure}",
        )
        headers: _HeaderList = [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies]
        headers += [(b"location", quote(back, safe="/?&=%:@+,;~!$'()*#").encode()), (b"cache-control", b"no-store")]
        headers.append((b"referrer-policy", b"no-referrer"))
        await _reply(send, 303, b"", headers)

    async def _unreachable(self, request: Request, send: Send) -> None:
        page = pages.no_answer(host=request.host, home=self._home)
        await _say(request, send, 503, page, b"The environment did not answer. Try again in a few seconds.")

    async def _nothing_here(self, _request: Request, send: Send) -> None:
        await _reply(send, 404, b"There is nothing at this address.", _TEXT)


async def _say(request: Request, send: Send, status: int, page: bytes, words: bytes) -> None:
    """A page for a person, a sentence for a program."""
    retry: _HeaderList = [(b"retry-after", RETRY_SECONDS)] if status == 503 else []
    if request.wants_page:
        await _reply(send, status, page, (*HEADERS, *retry))
    else:
        await _reply(send, status, words, (*_TEXT, *retry))


async def _reply(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    full = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": full})
    await send({"type": "http.response.body", "body": body})
