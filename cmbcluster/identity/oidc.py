"""Sign-in by OpenID Connect: authorization code with PKCE, one or several providers.

Authlib exchanges the code; what it does not look at is checked here and in ``id_tokens``.
Everything a provider can do wrong becomes an error of ours. A code, a token or the
client's secret must never reach a log line, an error's text or an address.
"""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
import warnings
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn

import httpx
import structlog
from authlib.deprecate import AuthlibDeprecationWarning

from cmbcluster.domain.admission import Entrant
from cmbcluster.errors import IdentityUnavailable, NotFound, SignInFailed, StartRefused
from cmbcluster.identity.documents import ProviderDocuments
from cmbcluster.identity.id_tokens import Unbelievable, WrongTime, check_claims, checked_claims, read_header
from cmbcluster.identity.port import Person, Provider, SignedIn, Ticket
from cmbcluster.provider_settings import ProviderSettings
from cmbcluster.settings import Settings

with warnings.catch_warnings():
    # It would rather use httpx2, and says so; httpx is what everything else here uses.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuthError

logger = structlog.get_logger(__name__)

NO_PROVIDER = ("There is no such way to sign in.", "Choose one on the front page.")
AGAIN = "Sign in again; if it happens again, tell your admin."
CODE_LIMIT = 4096
EMAIL_LIMIT = 320
# The last ones are what JSON of a wrong shape becomes, on its way through libraries.
_FAILURES = (httpx.HTTPError, TimeoutError, ValueError, TypeError, AttributeError, RecursionError)
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")
_BUSY = frozenset({"server_error", "temporarily_unavailable"})


class _Client:
    """One provider: its settings, its documents and the connection to it."""

    def __init__(self, provider: ProviderSettings, wait_seconds: float) -> None:
        self.provider = provider
        self._wait_seconds = wait_seconds
        try:
            secret = provider.secret()
        except OSError as unreadable:
            raise StartRefused(
                f"The client secret of {provider.id} cannot be read from {provider.client_secret_file}. "
                "Set client_secret_file to a file that this account may read."
            ) from unreadable
        self.connection = AsyncOAuth2Client(
            client_id=provider.client_id,
            client_secret=secret,
            scope=" ".join(provider.scopes),
            code_challenge_method="S256",
            timeout=wait_seconds,
            follow_redirects=False,
            # The connection is everybody's, so it must carry nothing from one sign-in to the next.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self.documents = ProviderDocuments(provider, self.fetch)

    async def fetch(self, url: str, access_token: str = "") -> Any:
        """A JSON document of the provider; raises IdentityUnavailable."""
        headers = {"Accept": "application/json"}
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        try:
            async with asyncio.timeout(self._wait_seconds):
                answer = await self.connection.request("GET", url, headers=headers, withhold_token=True)
            answer.raise_for_status()
            return answer.json()
        except _FAILURES as failed:
            raise IdentityUnavailable(f"{self.provider.id}: {_what_failed(failed)}") from failed

    async def exchange(self, url: str, code: str, ticket: Ticket, methods: object) -> Mapping[str, Any]:
        """The tokens for a code; raises IdentityUnavailable or SignInFailed."""
        basic = not isinstance(methods, list) or "client_secret_basic" in methods
        self.connection.token_endpoint_auth_method = "client_secret_basic" if basic else "client_secret_post"
        try:
            async with asyncio.timeout(self._wait_seconds):
                tokens = await self.connection.fetch_token(
                    url,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=ticket.verifier,
                    redirect_uri=ticket.redirect_uri,
                )
        except OAuthError as refused:
            why = refused.error if _ERROR_CODE.fullmatch(str(refused.error)) else "unknown error"
            raise SignInFailed(
                f"{self.provider.name} did not accept this sign-in.", AGAIN, why=f"token endpoint: {why}"
            ) from refused
        except _FAILURES as failed:
            raise IdentityUnavailable(f"{self.provider.id}: {_what_failed(failed)}") from failed
        finally:
            # The library keeps the last person's token for later requests, and there are none.
            self.connection.token = None
        if not isinstance(tokens, dict):
            raise IdentityUnavailable(f"{self.provider.id}: the token endpoint answered with no object")
        return tokens


class OidcIdentity:
    """The providers of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._clients = {each.id: _Client(each, settings.oidc_wait_seconds) for each in settings.providers}

    def people(self) -> tuple[Person, ...]:
        """Nobody can be chosen: a provider says who somebody is."""
        return ()

    def sign_in(self, _person_id: str, /) -> SignedIn:
        """Nobody can be chosen."""
        raise NotFound(*NO_PROVIDER)

    def providers(self) -> tuple[Provider, ...]:
        """Who can be asked, in the order of the settings."""
        return tuple(Provider(each.provider.id, each.provider.name) for each in self._clients.values())

    async def address(self, provider_id: str, ticket: Ticket, /) -> str:
        """Where to send the browser."""
        client = self._client(provider_id)
        metadata = await client.documents.metadata()
        url, _state = client.connection.create_authorization_url(
            metadata["authorization_endpoint"],
            state=ticket.state,
            nonce=ticket.nonce,
            code_verifier=ticket.verifier,
            redirect_uri=ticket.redirect_uri,
            **_hints(client.provider),
        )
        return str(url)

    async def confirm(self, provider_id: str, ticket: Ticket, answer: Mapping[str, str], /) -> Entrant:
        """Who came back."""
        client = self._client(provider_id)
        metadata = await client.documents.metadata()
        code = _code(client.provider, metadata, answer)
        tokens = await client.exchange(
            str(metadata["token_endpoint"]), code, ticket, metadata.get("token_endpoint_auth_methods_supported")
        )
        access_token = str(tokens.get("access_token") or "")
        try:
            claims = await _claims(client, tokens.get("id_token"), ticket, access_token)
            info = await _more(client, metadata, claims, access_token)
        except WrongTime as wrong:
            raise SignInFailed(
                f"The clocks of {client.provider.name} and of this platform do not agree, so the sign-in cannot be "
                "believed.",
                AGAIN,
                why=str(wrong),
            ) from wrong
        except Unbelievable as wrong:
            raise SignInFailed(
                f"The answer of {client.provider.name} cannot be believed, so nobody was signed in.",
                AGAIN,
                why=str(wrong),
            ) from wrong
        return entrant(claims, info)

    async def close(self) -> None:
        """Close connections."""
        for each in self._clients.values():
            await each.connection.aclose()

    def _client(self, provider_id: str) -> _Client:
        client = self._clients.get(provider_id)
        if client is None:
            raise NotFound(*NO_PROVIDER)
        return client


def _hints(provider: ProviderSettings) -> dict[str, str]:
    """Google shows only accounts of the domains then. It is a hint: what comes back is checked."""
    if provider.preset != "google":
        return {}
    domains = provider.allowed.domains
    hints = {"prompt": "select_account"}
    if domains and not provider.allowed.everybody and not provider.allowed.people:
        hints["hd"] = domains[0] if len(domains) == 1 else "*"
    return hints


def _code(provider: ProviderSettings, metadata: Mapping[str, Any], answer: Mapping[str, str]) -> str:
    """The code in the answer of the authorization endpoint."""
    issuer = answer.get("iss")
    required = metadata.get("authorization_response_iss_parameter_supported") is True
    if (issuer is None and required) or (issuer is not None and issuer != provider.issuer):
        # With several providers, one could otherwise make us take its code to another (RFC 9207).
        _disbelieve(provider, "the answer is of another issuer")
    if error := answer.get("error"):
        _say_refusal(provider, error if _ERROR_CODE.fullmatch(error) else "unknown error")
    code = answer.get("code", "")
    if not code or len(code) > CODE_LIMIT:
        _disbelieve(provider, "the answer has no code")
    return code


def _disbelieve(provider: ProviderSettings, why: str) -> NoReturn:
    raise SignInFailed(f"The answer of {provider.name} cannot be believed, so nobody was signed in.", AGAIN, why=why)


def _say_refusal(provider: ProviderSettings, error: str) -> NoReturn:
    if error in _BUSY:
        raise IdentityUnavailable(f"{provider.id}: {error}")
    if error == "access_denied":
        raise SignInFailed(
            f"{provider.name} was not allowed to tell us who you are, so nobody was signed in.",
            "Sign in again if that was not what you wanted.",
            why=error,
        )
    raise SignInFailed(f"{provider.name} did not complete the sign-in.", AGAIN, why=error)


async def _claims(client: _Client, token: object, ticket: Ticket, access_token: str) -> dict[str, Any]:
    header = read_header(token, client.provider.algorithms)
    keys = await client.documents.keys(header.get("kid"))
    if not keys:
        raise Unbelievable("the ID token names a key that the provider does not have")
    claims = checked_claims(str(token), str(header["alg"]), keys)
    check_claims(claims, header, client.provider, nonce=ticket.nonce, access_token=access_token, now=time.time())
    return claims


async def _more(
    client: _Client, metadata: Mapping[str, Any], claims: Mapping[str, Any], access_token: str
) -> Mapping[str, Any]:
    """What the userinfo endpoint adds, if there is one."""
    url = metadata.get("userinfo_endpoint")
    if not isinstance(url, str) or not access_token:
        return {}
    info = await client.fetch(url, access_token)
    if not isinstance(info, dict) or info.get("sub") != claims["sub"]:
        raise Unbelievable("userinfo is about somebody else than the ID token")
    return info


def entrant(claims: Mapping[str, Any], info: Mapping[str, Any]) -> Entrant:
    """The person in both documents. The ID token is signed, so it goes before userinfo."""
    source = claims if "email" in claims else info
    email = source.get("email")
    verified = source.get("email_verified")
    if verified is None and email is not None and info.get("email") == email:
        verified = info.get("email_verified")
    both = {**info, **claims}
    usable = isinstance(email, str) and 0 < len(email) <= EMAIL_LIMIT and email.isprintable()
    return Entrant(
        subject=str(claims["sub"]),
        email=str(email) if usable else "",
        email_verified=verified,
        name=_name(both),
        claims=both,
    )


def _name(claims: Mapping[str, Any]) -> str:
    """A name to show: what people call themselves, without characters that cannot be seen."""
    given = " ".join(str(claims[part]) for part in ("given_name", "family_name") if claims.get(part))
    email = str(claims.get("email") or "").partition("@")[0]
    for wanted in (claims.get("name"), given, claims.get("preferred_username"), email):
        seen = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(wanted or ""))
        if clean := " ".join(unicodedata.normalize("NFC", seen).split())[:80]:
            return clean
    return "Researcher"


def _what_failed(failed: Exception) -> str:
    """The kind of failure. A library's own text may hold addresses with codes in them."""
    if isinstance(failed, httpx.HTTPStatusError):
        return f"answered with status {failed.response.status_code}"
    return "took too long" if isinstance(failed, httpx.TimeoutException | TimeoutError) else type(failed).__name__
