"""Who is at the other end: the address behind the edge and the proxies in front of it.

The edge writes the address it saw itself; each trusted proxy in front of it wrote the one it
saw. Only as many of these are believed as the settings name, counted from our side, since
everything further away is the client's own words. Nothing else that is forwarded is believed.
"""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from cmbcluster.settings import Settings

# Set by the edge from what a proxy in front of it sent; from outside it never gets this far.
CHAIN_HEADER = b"x-cmb-chain"
SEEN_HEADER = b"x-forwarded-for"


class Forwarded:
    """Outermost of all: says once where a request comes from and how the browser reached us."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hops = settings.trusted_proxy_hops
        self._scheme = "https" if settings.over_tls else "http"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write address and scheme into the scope of one request."""
        if scope["type"] in ("http", "websocket"):
            scheme = self._scheme if scope["type"] == "http" else self._scheme.replace("http", "ws")
            scope = {**scope, "client": (client_of(scope["headers"], self._hops), 0), "scheme": scheme}
        await self._app(scope, receive, send)


def client_of(headers: list[tuple[bytes, bytes]], hops: int) -> str:
    """The address ``hops`` proxies in front of the edge, or the nearest that is known; empty when none is."""
    told = [value for name, value in headers if name == CHAIN_HEADER] if hops else []
    seen = [value for name, value in headers if name == SEEN_HEADER]
    chain = [part.strip().decode("latin-1") for value in (*told, *seen) for part in value.split(b",") if part.strip()]
    if not chain:
        return ""
    return _address(chain[max(0, len(chain) - 1 - hops)])


def _address(text: str) -> str:
    """An address without its port, or nothing when it is not one."""
    bare = text.partition("]")[0].lstrip("[") if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
