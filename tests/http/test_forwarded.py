"""Where a request comes from: as many proxies as are named are believed, and never the client."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cmbcluster.http.forwarded import Forwarded, client_of
from cmbcluster.settings import Settings

SEEN, CHAIN = b"x-forwarded-for", b"x-cmb-chain"


@pytest.mark.parametrize(
    ("headers", "hops", "address"),
    [
        ([(SEEN, b"192.0.2.1")], 0, "192.0.2.1"),
        ([(CHAIN, b"203.0.113.9"), (SEEN, b"192.0.2.1")], 0, "192.0.2.1"),
        ([(CHAIN, b"203.0.113.9"), (SEEN, b"192.0.2.1")], 1, "203.0.113.9"),
        ([(CHAIN, b"6.6.6.6, 203.0.113.9"), (SEEN, b"192.0.2.1")], 1, "203.0.113.9"),
        ([(CHAIN, b"6.6.6.6, 203.0.113.9, 198.51.100.7"), (SEEN, b"192.0.2.1")], 2, "203.0.113.9"),
        ([(CHAIN, b"203.0.113.9"), (SEEN, b"192.0.2.1")], 5, "203.0.113.9"),
        ([(CHAIN, b""), (SEEN, b"192.0.2.1")], 1, "192.0.2.1"),
        ([(CHAIN, b"[2001:db8::7]:443"), (SEEN, b"192.0.2.1")], 1, "2001:db8::7"),
        ([(CHAIN, b"203.0.113.9:51234"), (SEEN, b"192.0.2.1")], 1, "203.0.113.9"),
        ([(CHAIN, b"<script>"), (SEEN, b"192.0.2.1")], 1, ""),
        ([], 1, ""),
    ],
)
def test_the_address_is_counted_from_our_side(headers: list[tuple[bytes, bytes]], hops: int, address: str) -> None:
    assert client_of(headers, hops) == address


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
async def test_the_scheme_is_that_of_the_public_address_whatever_is_forwarded(kind: str, scheme: str) -> None:
    seen: dict[str, Any] = {}

    async def inside(scope: Any, _receive: Any, _send: Any) -> None:
        seen.update(scope)

    settings = Settings(
        public_url="https://cmb.example.org",
        google_client_id="id",
        google_client_secret="secret",
        _env_file=None,
    )
    headers = [(b"x-forwarded-proto", b"http"), (SEEN, b"192.0.2.1")]
    scope = {"type": kind, "scheme": "http", "headers": headers, "client": None}
    await Forwarded(inside, settings)(scope, cast(Any, None), cast(Any, None))
    assert (seen["scheme"], seen["client"]) == (scheme, ("192.0.2.1", 0))
