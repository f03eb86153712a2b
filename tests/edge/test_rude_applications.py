"""Applications that answer with bytes meant for the edge: nothing of it reaches anybody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cmbcluster.domain.gate import GateAnswer, Verdict
from cmbcluster.edge.caddyfile import EdgePlan, caddyfile
from cmbcluster.edge.handshake import Unreadable, read_reply, refusal, switch
from tests.edge.conftest import Edge
from tests.edge.stand_ins import COOKIE, raw_request, rude_server

HOST = "demo-k7q2mx.localhost"
COOKIES = (
    b"Set-Cookie: wide=1; Domain=localhost; Path=/\r\nSet-Cookie: cmb_session=evil\r\nSet-Cookie: plain=2\r\n"
    b'Set-Cookie: __Host-cmb_environment=evil\r\nSet-Cookie: =cmb_return=evil\r\nClear-Site-Data: "cookies"\r\n'
)
POISON = (
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\nHTTP/1.1 200 OK\nX-EVIL: 1\nSet-Cookie: a=evil\nContent-Length: 4\n\n"
    b"EVIL\r\n\r\n"
)


def send_to(edge: Edge, port: int) -> None:
    edge.access.answer = GateAnswer(Verdict.PASS, host="127.0.0.1", port=port)


def handshake_request(edge: Edge, extra: str = "") -> bytes:
    """What a browser sends to open a WebSocket."""
    text = (
        f"GET /x HTTP/1.1\nHost: {HOST}:{edge.port}\nCookie: {COOKIE}\n{extra}Connection: Upgrade\n"
        "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n"
    )
    return text.replace("\n", "\r\n").encode()


async def handshake(edge: Edge, extra: str = "") -> str:
    """The head of the answer to a handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(handshake_request(edge, extra))
    try:
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1")
    finally:
        writer.close()


async def test_an_answer_of_an_application_never_answers_anybody_else(edge: Edge) -> None:
    async with rude_server(POISON) as port:
        send_to(edge, port)
        for _ in range(3):
            head = await handshake(edge)
            assert not head.startswith(("HTTP/1.1 101", "HTTP/1.1 200"))
            assert "evil" not in head.lower()
    send_to(edge, edge.application_port)
    for _ in range(3):
        head = await handshake(edge)
        assert head.startswith("HTTP/1.1 101"), head
        assert "evil" not in head.lower()


def test_the_edge_uses_no_connection_to_the_relay_twice(tmp_path: Path) -> None:
    text = caddyfile(EdgePlan("localhost", 8200, ("127.0.0.1",), tmp_path / "web", tmp_path / "gate", None))
    assert "keepalive off" in text.partition("reverse_proxy @once {http.request")[2].partition("reverse_proxy")[0]


@pytest.mark.parametrize("status", [b"101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket", b"200 OK"])
async def test_cookies_and_storage_are_cleaned_also_when_protocols_change(edge: Edge, status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\n" + COOKIES
    async with rude_server(head + b"Content-Length: 0\r\n\r\n") as port:
        send_to(edge, port)
        if status.startswith(b"101"):
            told = await handshake(edge)
            assert told.startswith("HTTP/1.1 101")
        else:
            told = str((await edge.get(Cookie=COOKIE)).headers.multi_items())
    assert "plain=2" in told
    assert "wide=1; Path=/" in told
    assert "evil" not in told
    assert "clear-site-data" not in told.lower()


async def test_early_hints_and_announced_trailers_set_nothing(edge: Edge) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n" + COOKIES + b"\r\n"
    last = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n2\r\nok\r\n0\r\n"
    async with rude_server(early + last + b"Set-Cookie: cmb_session=evil\r\n\r\n") as port:
        send_to(edge, port)
        told = await raw_request(
            edge.port, f"GET / HTTP/1.1\nHost: {HOST}:{edge.port}\nCookie: {COOKIE}\nConnection: close\n\n"
        )
    assert told.startswith("HTTP/1.1 103")
    assert "HTTP/1.1 200 OK" in told
    assert "wide=1; Path=/" in told
    assert "evil" not in told
    assert "clear-site-data" not in told.lower()


async def test_an_application_that_does_not_answer_a_handshake_is_given_up(edge: Edge) -> None:
    edge.relay._reply_seconds = 0.2
    async with rude_server(b"HTTP/1.1 101 Switching") as port:
        send_to(edge, port)
        assert (await handshake(edge)).startswith("HTTP/1.1 504")


async def test_two_origins_are_no_origin(edge: Edge) -> None:
    send_to(edge, edge.application_port)
    own = f"Origin: http://{HOST}:{edge.port}\n"
    assert (await handshake(edge, own)).startswith("HTTP/1.1 101")
    for two in ("Origin: http://evil.example\n" + own, own + "Origin: http://evil.example\n", own + own):
        assert (await handshake(edge, two)).startswith("HTTP/1.1 403")


async def test_an_open_connection_asks_again_without_touching_the_session(edge: Edge) -> None:
    send_to(edge, edge.application_port)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(handshake_request(edge))
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.7)
    writer.close()
    assert len(edge.access.touches) > 1
    assert not any(edge.access.touches)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\nX: 1\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 S\r\nX: a\nSet-Cookie: b=1\r\n\r\n",
        b"HTTP/1.1 101 S\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 101 S\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 101 S\r\nX : a\r\n\r\n",
        b"HTTP/1.1 101 S\r\nno colon\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_not_read(head: bytes) -> None:
    with pytest.raises(Unreadable):
        read_reply(head)


def test_only_the_protocol_that_was_asked_for() -> None:
    reply = read_reply(b"HTTP/1.1 101 S\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: x\r\nContent-Length: 5\r\n\r\n")
    told = switch(reply, "websocket")
    assert b"Sec-WebSocket-Accept: x\r\n" in told
    assert b"Content-Length" not in told
    for asked in ("h2c", ""):
        with pytest.raises(Unreadable):
            switch(reply, asked)


@pytest.mark.parametrize(("status", "said"), [(403, 403), (100, 502), (103, 502), (299, 502), (999, 502), (404, 404)])
def test_a_refusal_is_a_last_word(status: int, said: int) -> None:
    assert refusal(status).startswith(f"HTTP/1.1 {said} ".encode())
