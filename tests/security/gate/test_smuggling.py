"""Item 55: requests that two readers could cut differently, as raw bytes through a real Caddy.

What Caddy refuses is refused with 400 (501 for a transfer coding it does not know). What it
reads in one way and says again in its own words must not hide a second request: after the
request the connection ends, or the application gets exactly what the gate was asked about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.edge.conftest import Edge
from tests.security.gate.echo import HOST, Arrived, head, keeping, let_in, send

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: demo-k7q2mx.localhost\r\nCookie: cmb_environment=opaque-value\r\n\r\n"
POST = "POST /seen HTTP/1.1"


@pytest.fixture
async def application(edge: Edge) -> AsyncIterator[Arrived]:
    """An application that keeps every byte, and a gate that passes to it."""
    async with keeping() as arrived:
        let_in(edge, arrived.port)
        yield arrived


REFUSED = {
    "two lengths": (["Content-Length: 5", "Content-Length: 6"], b"hello"),
    "a list of lengths": (["Content-Length: 5, 6"], b"hello"),
    "a list of equal lengths": (["Content-Length: 5, 5"], b"hello"),
    "a length with a sign": (["Content-Length: +5"], b"hello"),
    "a negative length": (["Content-Length: -5"], b"hello"),
    "a length in hex": (["Content-Length: 0x5"], b"hello"),
    "a length that is too long": (["Content-Length: 99999999999999999999"], b"hello"),
    "a space before the colon": (["Content-Length : 5"], b"hello"),
    "a space before the colon of the coding": (["Transfer-Encoding : chunked", "Content-Length: 5"], b"0\r\n\r\n"),
    "an unknown coding": (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
    "identity": (["Transfer-Encoding: identity", "Content-Length: 5"], b"hello"),
    "chunked and another": (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
    "chunked twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "a coding with a vertical tab": (["Transfer-Encoding: \x0bchunked"], b"0\r\n\r\n"),
    "a quoted coding": (['Transfer-Encoding: "chunked"'], b"0\r\n\r\n"),
    "a lone CR": (["X: a\rTransfer-Encoding: chunked"], b""),
    "a zero byte": (["X: a\x00b"], b""),
    "a name with a space": (["X Y: a"], b""),
    "no colon": (["nonsense"], b""),
    "an empty name": ([": a"], b""),
    "a second host": (["Host: evil.example"], b""),
}


@pytest.mark.parametrize("shape", REFUSED)
async def test_55_what_can_be_read_in_two_ways_is_refused(edge: Edge, application: Arrived, shape: str) -> None:
    lines, body = REFUSED[shape]
    said = await send(edge, head(edge, *lines, first=POST) + body + HIDDEN)
    assert said.statuses in ([400], [501]), said.text
    assert said.closed
    assert application.all == b""
    assert edge.access.asked == []


@pytest.mark.parametrize(
    "first",
    [
        "GET /seen",
        "GET  /seen HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /seen HTTP/2.0",
        "GET /seen HTTP/1.1 x",
        "GET /seen\tHTTP/1.1",
        "G(T /seen HTTP/1.1",
        "GET seen HTTP/1.1",
        " GET /seen HTTP/1.1",
    ],
)
async def test_55_first_lines_that_are_none(edge: Edge, application: Arrived, first: str) -> None:
    said = await send(edge, head(edge, first=first) + HIDDEN)
    assert said.statuses in ([400], [505]), said.text
    assert said.closed
    assert application.all == b""


FIRST_FOLDED = "GET / HTTP/1.1\r\n folded: x"


async def test_55_a_fold_before_the_first_header_is_refused(edge: Edge, application: Arrived) -> None:
    said = await send(edge, head(edge, first=FIRST_FOLDED))
    assert said.statuses == [400]
    assert application.all == b""


LAST = {
    "both, ended by its chunks": (POST, ["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "both, the other way round": (POST, ["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n"),
    "both, with a body": (POST, ["Content-Length: 4", "Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n"),
    "both, in odd case": (POST, ["content-length: 3", "tRANSFER-eNCODING: cHUNKED"], b"0\r\n\r\n"),
    "both, with a fold": (POST, ["Content-Length: 5", "Transfer-Encoding:\r\n chunked"], b"0\r\n\r\n"),
    "chunks alone": (POST, ["Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "chunks that an old version does not know": (
        "POST /seen HTTP/1.0",
        ["Transfer-Encoding: chunked", "Content-Length: 5", "Connection: keep-alive"],
        b"0\r\n\r\n",
    ),
    "an old version that would stay": ("GET /seen HTTP/1.0", ["Connection: keep-alive"], b""),
}


@pytest.mark.parametrize("shape", LAST)
async def test_55_what_follows_a_doubtful_request_is_never_read(edge: Edge, application: Arrived, shape: str) -> None:
    first, lines, body = LAST[shape]
    said = await send(edge, head(edge, *lines, first=first) + body + HIDDEN)
    assert said.statuses == [200], said.text
    assert said.closed
    assert len(edge.access.asked) == 1
    assert b"/hidden" not in application.all
    # It was said again in the edge's words: one framing, not two.
    seen = application.all.lower()
    assert (b"content-length:" in seen) + (b"transfer-encoding:" in seen) <= 1


@pytest.mark.parametrize("host", ["localhost", HOST])
async def test_55_also_on_the_dashboard(edge: Edge, application: Arrived, host: str) -> None:
    request = head(edge, "Content-Length: 5", "Transfer-Encoding: chunked", first=POST) + b"0\r\n\r\n" + HIDDEN
    said = await send(edge, request.replace(f"{HOST}:".encode(), f"{host}:".encode(), 1))
    assert len(said.statuses) == 1
    assert said.closed
    assert "hidden" not in said.text


BAD_CHUNKS = [
    b"zz\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5 5\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"5;\nx\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"\r\n\r\n",
    b"5\r\nhel",
]


@pytest.mark.parametrize("chunks", BAD_CHUNKS)
async def test_55_a_bad_chunk_never_ends_a_request_nor_begins_another(
    edge: Edge, application: Arrived, chunks: bytes
) -> None:
    said = await send(edge, head(edge, "Transfer-Encoding: chunked", first=POST) + chunks + HIDDEN, within=1.5)
    assert b"/hidden" not in application.all
    # The head may have gone on before the body was seen to be bad; then it stays without an end.
    assert not application.all.endswith(b"0\r\n\r\n")
    assert len(edge.access.asked) <= 1
    if said.statuses:
        assert said.closed


@pytest.mark.parametrize("body", [HIDDEN, b"0\r\n\r\n" + HIDDEN])
async def test_55_a_body_is_never_a_request(edge: Edge, application: Arrived, body: bytes) -> None:
    said = await send(edge, head(edge, f"Content-Length: {len(body)}", first="GET /seen HTTP/1.1") + body)
    assert said.statuses == [200]
    assert len(edge.access.asked) == 1
    assert application.all.startswith(b"GET /seen ")
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in application.all


async def test_55_folds_and_bare_line_feeds_arrive_as_plain_lines(edge: Edge, application: Arrived) -> None:
    folded = head(edge, "X-A: one\r\n two\r\n\tthree", "Cookie: b=2;\r\n cmb_session=SECRET")
    assert (await send(edge, folded)).statuses == [200]
    assert b"\r\nX-A: one two three\r\n" in application.all
    assert b"SECRET" not in application.all
    application.forget()
    bare = head(edge, "X-A: one", "X-Env-Upstream: SECRET").replace(b"\r\n", b"\n")
    assert (await send(edge, bare)).statuses == [200]
    assert b"SECRET" not in application.all
    for line in application.all.split(b"\r\n"):
        assert b"\n" not in line
        assert not line.startswith((b" ", b"\t"))


async def test_55_trailers_bring_nothing_in(edge: Edge, application: Arrived) -> None:
    trailers = b"X-Env-Upstream: SECRET\r\nCookie: cmb_session=SECRET\r\nX-User: SECRET\r\n\r\n"
    lines = ("Transfer-Encoding: chunked", "Trailer: X-Env-Upstream, Cookie, X-User")
    said = await send(edge, head(edge, *lines, first=POST) + b"5\r\nhello\r\n0\r\n" + trailers)
    assert said.statuses == [200]
    assert b"SECRET" not in application.all


async def test_55_ordinary_requests_share_their_connection(edge: Edge, application: Arrived) -> None:
    """The stand against smuggling costs ordinary requests nothing; else these tests would prove little."""
    one = head(edge, "Content-Length: 5", first=POST) + b"hello"
    said = await send(edge, one + head(edge, first="GET /second HTTP/1.1"))
    assert said.statuses == [200, 200]
    assert not said.closed
    assert b"/second" in application.all
