"""One question to one host, under the rules for hosts that somebody else named.

The name is looked up once, its addresses are judged, and the connection goes to one of
those. Nothing is followed, kept or shared between two questions: no redirect, no cookie,
no connection. Answers are bounded in size; the time is bounded by whoever asks.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

import httpx
import structlog

from cmbcluster.errors import RegistryUnavailable
from cmbcluster.images.addresses import Lookup, is_possible, is_public, look_up
from cmbcluster.images.port import ImageFailed, NotAnImage, RegistryRefused

log = structlog.get_logger("cmbcluster.images")

ADDRESSES_TRIED = 3
# Only the way there is bounded here, so that there is time for another address.
WAITS = httpx.Timeout(None, connect=3.0)
_USUAL_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Place:
    """Where a question goes: ``host`` has a port only where it is not the scheme's usual one."""

    host: str
    target: str  # path and query

    @classmethod
    def of_url(cls, url: str, plain: frozenset[str]) -> Place | None:
        """The place of an absolute address; None unless it is one we may ask at all."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return None
        # No account in the address, and no IPv6 literal: its colons are not those of a port.
        if parts.scheme not in _USUAL_PORTS or not parts.hostname or set("@[") & set(parts.netloc):
            return None
        # Whoever is sent on there must not fail over how it is written.
        if not parts.netloc.isascii() or not f"{parts.netloc}{parts.path}{parts.query}".isprintable():
            return None
        usual = port in (None, _USUAL_PORTS[parts.scheme])
        host = parts.hostname if usual else f"{parts.hostname}:{port}"
        if parts.scheme != ("http" if host in plain else "https"):
            return None
        query = f"?{parts.query}" if parts.query else ""
        return cls(host, f"{parts.path or '/'}{query}")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Wire:
    """Asks. ``internal``: hosts whose addresses may be private; ``plain``: hosts asked without TLS.

    ``lookup`` and ``transport`` are the tests' ways in.
    """

    def __init__(
        self,
        *,
        internal: Iterable[str] = (),
        plain: Iterable[str] = (),
        lookup: Lookup = look_up,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.plain = frozenset(plain)
        self._internal = frozenset(internal)
        self._lookup = lookup
        self._transport = transport

    async def get(self, place: Place, headers: Mapping[str, str], limit_bytes: int) -> Answer:
        """The answer of a place.

        Raises RegistryRefused for an address that must not be asked, NotAnImage for an
        answer over ``limit_bytes``, RegistryUnavailable when there is none.
        """
        host, _, port_text = place.host.partition(":")
        scheme = "http" if place.host in self.plain else "https"
        port = int(port_text or _USUAL_PORTS[scheme])
        for address in (await self._addresses(place.host, host, port))[:ADDRESSES_TRIED]:
            url = httpx.URL(scheme=scheme, host=address, port=port, raw_path=place.target.encode("ascii", "replace"))
            sent = {"Accept-Encoding": "identity", "User-Agent": "cmbcluster", **headers, "Host": place.host}
            request = httpx.Request("GET", url, headers=sent, extensions={"sni_hostname": host})
            # An address that cannot be reached is not the end; there may be another.
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._ask(place.host, request, limit_bytes)
        raise RegistryUnavailable(f"{place.host} cannot be reached")

    async def _ask(self, host: str, request: httpx.Request, limit_bytes: int) -> Answer:
        body = bytearray()
        try:
            async with httpx.AsyncClient(
                transport=self._transport, verify=_trust(), trust_env=False, follow_redirects=False, timeout=WAITS
            ) as client:
                response = await client.send(request, stream=True)
                try:
                    async for chunk in response.aiter_raw():
                        body += chunk
                        if len(body) > limit_bytes:
                            raise NotAnImage(f"What {host} answers is too large.", "Check the name of the image.")
                finally:
                    await response.aclose()
                return Answer(response.status_code, response.headers, bytes(body))
        except (httpx.ConnectError, httpx.ConnectTimeout) as away:
            log.warning("registry_unreachable", registry=host, error=str(away)[:200])
            raise
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as broken:
            raise RegistryUnavailable(f"{host}: {type(broken).__name__}") from broken

    async def _addresses(self, named: str, host: str, port: int) -> tuple[str, ...]:
        try:
            found = await self._lookup(host, port)
        except socket.gaierror as unknown:
            if unknown.errno == socket.EAI_NONAME:
                raise ImageFailed(f"There is no registry called {named}.", "Check its name.") from unknown
            raise RegistryUnavailable(f"{named} cannot be looked up") from unknown
        except (OSError, UnicodeError) as failed:
            raise RegistryUnavailable(f"{named} cannot be looked up") from failed
        allowed = is_possible if named in self._internal else is_public
        # One bad address spoils the name: which of them is taken must not be a matter of luck.
        if not found or not all(allowed(address) for address in found):
            log.warning("registry_address_refused", registry=named)
            raise RegistryRefused(
                f"{named} does not lead to an address on the internet.",
                "Name another registry, or ask whoever runs the platform to list this one as internal.",
            )
        return found


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """The usual authorities and those that this system trusts besides, such as an institute's own."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
