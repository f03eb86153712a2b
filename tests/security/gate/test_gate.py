"""Items 49 to 57 of the list of threats, through a real Caddy and the gate: one test or more for each."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cmbcluster.domain.gate import GateAnswer, Verdict
from tests.edge.conftest import Edge
from tests.edge.stand_ins import COOKIE, environment, rude_server
from tests.security.gate.echo import HOST, Arrived, gate_that_says, head, keeping, let_in, send

Heads = dict[str, list[str]]


@pytest.fixture
async def application(edge: Edge) -> AsyncIterator[Arrived]:
    """An application that keeps every byte, and a gate that passes to it."""
    async with keeping() as arrived:
        let_in(edge, arrived.port)
        yield arrived


async def heads_at_echo(edge: Edge, *lines: str, cookie: str = COOKIE, host: str = HOST) -> Heads:
    """The headers that the echo application got for a request with these lines."""
    let_in(edge, edge.application_port)
    request = head(edge, *lines, "Connection: close", cookie=cookie).replace(HOST.encode(), host.encode())
    said = await send(edge, request)
    assert said.statuses == [200], said.text
    told: Heads = {}
    for name, value in json.loads(said.text.partition("\r\n\r\n")[2])["headers"]:
        told.setdefault(name.lower(), []).append(value)
    return told


# ---- 49: our cookies and Authorization never reach an application ----

OURS = [
    "cmb_session=SECRET",
    "cmb_sign_in=SECRET",
    "cmb_return=SECRET",
    "CMB_Session=SECRET",
    "__Host-cmb_session=SECRET",
    "__Secure-cmb_session=SECRET",
    "__HOST-CMB_ENVIRONMENT=SECRET",
    'cmb_session="SECRET"',
    '"cmb_session"=SECRET',
    "cmb_session =SECRET",
    "cmb_session\t=SECRET",
    "  cmb_session=SECRET",
    "=cmb_session=SECRET",
    "= cmb_session=SECRET",
    "cmb_session=SECRET=SECRET",
    "cmb_environment=SECRET; cmb_environment=SECRET",
    ";;cmb_session=SECRET;;",
    'a="x; cmb_session=SECRET; y"',
]


@pytest.mark.parametrize("ours", OURS)
async def test_49_our_cookies_never_reach_an_application_however_they_are_written(edge: Edge, ours: str) -> None:
    told = await heads_at_echo(edge, cookie=f"first=1; {ours}; {COOKIE}; last=2")
    assert "SECRET" not in json.dumps(told)
    assert "opaque-value" not in json.dumps(told)
    (cookies,) = told["cookie"]
    assert cookies.startswith("first=1")
    assert cookies.endswith("last=2")


async def test_49_our_cookies_never_reach_an_application_in_whichever_line(edge: Edge) -> None:
    lines = ("cookie: cmb_session=SECRET", "COOKIE: b=2; __Host-cmb_session=SECRET", "Cookie: c=3;cmb_return=SECRET;")
    told = await heads_at_echo(edge, *lines, cookie=f"a=1; {COOKIE}")
    assert told["cookie"] == ["a=1; b=2; c=3"]
    assert "SECRET" not in json.dumps(told)


async def test_49_what_only_looks_like_ours_stays(edge: Edge) -> None:
    theirs = 'cmb_sessions=1; xcmb_session=2; my="cmb_session"; token=cmb_session=3'
    assert (await heads_at_echo(edge, cookie=f"{COOKIE}; {theirs}"))["cookie"] == [theirs]


@pytest.mark.parametrize("name", ["Authorization", "AUTHORIZATION", "authorization", "Proxy-Authorization"])
@pytest.mark.parametrize("value", ["Bearer cmb_SECRET", "Basic SECRET", "SECRET"])
async def test_49_authorization_never_reaches_an_application(edge: Edge, name: str, value: str) -> None:
    edge.access.known_tokens.add("cmb_SECRET")
    edge.access.needs_cookie = False
    told = await heads_at_echo(edge, f"{name}: {value}", f"{name}: {value}")
    assert "SECRET" not in json.dumps(told)
    assert not [each for each in told if "authorization" in each]


async def test_49_nor_with_a_websocket(edge: Edge) -> None:
    let_in(edge, edge.application_port)
    cookie = f'a=1; {COOKIE}; __Host-cmb_session="SECRET"'
    more = {"Cookie": cookie, "X_Env_Ticket": "SECRET", "Authorization": "Basic SECRET"}
    url = f"ws://{HOST}:{edge.port}/"
    edge.access.needs_cookie = False
    async with connect(url, host="127.0.0.1", additional_headers=more) as socket:
        told = str(await socket.recv())
    assert "SECRET" not in told
    assert "opaque-value" not in told
    assert '"a=1"' in told


# ---- 50: forged headers are dropped and set by us ----

FORGED = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-User",
    "X-Forwarded-Prefix",
    "X_Forwarded_For",
    "X-Forwarded_For",
    "Forwarded",
    "X-Real-IP",
    "X_Real_IP",
    "True-Client-Ip",
    "X-Auth-Request-User",
    "X-Authenticated-User",
    "X_Auth_User",
    "X-WebAuth-User",
    "X-User",
    "X-User-Id",
    "X-Username",
    "X-Remote-User",
    "Remote-User",
    "Remote_User",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Env-Upstream",
    "X-Env-Ticket",
    "X-Env-Cookie",
    "X-Env-Upgrade",
    "X_Env_Upstream",
    "X-Cmb-Chain",
    "X-Cmb-Anything",
    "X_Cmb_Chain",
    "Proxy",
]
SET_BY_US = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": None}


@pytest.mark.parametrize("spelled", [str, str.upper, str.lower], ids=["as is", "upper", "lower"])
async def test_50_forged_headers_are_dropped_and_set_by_us(edge: Edge, spelled: Any) -> None:
    told = await heads_at_echo(edge, *[f"{spelled(name)}: FORGED" for name in FORGED])
    assert "FORGED" not in json.dumps(told)
    forwarded = {name: value for name, value in told.items() if name.startswith(("x-", "forwarded", "remote"))}
    host = f"{HOST}:{edge.port}"
    assert forwarded == {name: [value or host] for name, value in SET_BY_US.items()}


async def test_50_forged_headers_reach_no_websocket_either(edge: Edge) -> None:
    let_in(edge, edge.application_port)
    more = {"Cookie": COOKIE, **dict.fromkeys(FORGED, "FORGED")}
    async with connect(f"ws://{HOST}:{edge.port}/", host="127.0.0.1", additional_headers=more) as socket:
        assert "FORGED" not in str(await socket.recv())


@pytest.mark.parametrize("behind_proxies", [False, True])
async def test_50_nor_the_dashboard(edge: Edge) -> None:
    lines = [f"{name}: FORGED" for name in FORGED if not name.startswith("X-Forwarded-For")]
    request = head(edge, *lines, "Connection: close").replace(f"{HOST}:".encode(), b"localhost:")
    said = await send(edge, request)
    assert said.statuses == [200]
    assert "FORGED" not in said.text


@pytest.mark.parametrize(
    "named", ["Cookie", "X-Env-Cookie", "X-Env-Upstream", "X-Env-Ticket", "Host", "X-Forwarded-For", "Authorization"]
)
async def test_50_naming_a_header_in_connection_gains_nothing(edge: Edge, application: Arrived, named: str) -> None:
    said = await send(edge, head(edge, f"Connection: close, {named}", "Authorization: Basic SECRET"))
    assert b"SECRET" not in application.all
    assert b"opaque-value" not in application.all
    assert b"x-env" not in application.all.lower()
    assert len(said.statuses) == 1


# ---- 51: an application's Set-Cookie stays on its host and takes no name of ours ----

EVIL = [
    "cmb_session=EVIL",
    "cmb_environment=EVIL; Path=/",
    "cmb_sign_in=EVIL",
    "cmb_return=EVIL",
    "__Host-cmb_session=EVIL; Secure; Path=/",
    "__Secure-cmb_session=EVIL; Secure",
    "__host-CMB_SESSION=EVIL",
    " cmb_session=EVIL",
    "=cmb_session=EVIL",
    "\tcmb_session\t=EVIL",
]
WIDE = ["wide=1; Domain=localhost", "wide=2;domain=.localhost ;Path=/", "wide=3; DOMAIN = localhost; Secure"]


async def test_51_a_set_cookie_leaves_neither_its_host_nor_takes_our_name(edge: Edge) -> None:
    lines = "".join(f"Set-Cookie: {each}\r\n" for each in [*EVIL, *WIDE, "plain=1"])
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n".encode()
    async with rude_server(answer) as port:
        let_in(edge, port)
        said = await send(edge, head(edge, "Connection: close"))
    assert said.statuses == [200]
    assert "EVIL" not in said.text
    assert "domain" not in said.text.lower()
    assert [f"wide={n}" in said.text for n in (1, 2, 3)] == [True] * 3
    assert "plain=1" in said.text


async def test_51_nor_in_a_websocket_handshake(edge: Edge) -> None:
    lines = "".join(f"Set-Cookie: {each}\r\n" for each in [*EVIL, *WIDE, "plain=1"])
    answer = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\r\n".encode()
    async with rude_server(answer) as port:
        let_in(edge, port)
        said = await send(edge, head(edge, "Connection: Upgrade", "Upgrade: websocket"))
    assert said.statuses == [101]
    assert "EVIL" not in said.text
    assert "domain" not in said.text.lower()
    assert "plain=1" in said.text


# ---- 52: no client header chooses the path or the host that is checked ----


async def test_52_the_gate_is_asked_about_the_host_that_the_application_gets(edge: Edge, application: Arrived) -> None:
    forged = ["X-Forwarded-Host: other-aaaaaa.localhost", "X-Forwarded-Uri: /.cmb/enter", "X-Original-URL: /authorize"]
    shapes = [
        (head(edge, *forged), f"{HOST}:{edge.port}"),
        # Where an address stands in the first line, it is the one that counts, for all of us.
        (
            head(edge, first=f"GET http://other-aaaaaa.localhost:{edge.port}/ HTTP/1.1"),
            f"other-aaaaaa.localhost:{edge.port}",
        ),
        (head(edge, first="GET //other-aaaaaa.localhost/ HTTP/1.1"), f"{HOST}:{edge.port}"),
    ]
    for request, host in shapes:
        edge.access.asked.clear()
        application.forget()
        assert (await send(edge, request)).statuses == [200]
        assert [asked for asked, _ in edge.access.asked] == [host]
        assert f"\r\nHost: {host}\r\n".encode() in application.all


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "x.demo-k7q2mx.localhost"])
async def test_52_an_absolute_address_of_another_host_reaches_nothing(
    edge: Edge, application: Arrived, host: str
) -> None:
    said = await send(edge, head(edge, first=f"GET http://{host}/ HTTP/1.1"))
    assert said.statuses == [421]
    assert edge.access.asked == []
    assert application.all == b""


async def test_52_the_way_back_comes_from_the_edge(edge: Edge) -> None:
    lines = ("X-Forwarded-Uri: /evil", "Sec-Fetch-Mode: navigate")
    said = await send(edge, head(edge, *lines, first="GET /lab HTTP/1.1", cookie="none=1"))
    assert said.statuses == [303]
    assert "cmb_return=%2Flab;" in said.text


@pytest.mark.parametrize("path", ["/authorize", "/unreachable", "/%2e%2e/authorize", "/.cmbx", "/x/.cmb/enter"])
async def test_52_the_gates_own_paths_are_an_applications_like_any_other(
    edge: Edge, application: Arrived, path: str
) -> None:
    assert (await send(edge, head(edge, first=f"GET {path} HTTP/1.1"))).statuses == [200]
    assert len(edge.access.asked) == 1
    edge.access.needs_cookie = True
    application.forget()
    assert (await send(edge, head(edge, first=f"GET {path} HTTP/1.1", cookie="none=1"))).statuses == [401]
    assert application.all == b""


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_52_methods_that_speak_to_proxies_are_refused(edge: Edge, application: Arrived, method: str) -> None:
    target = f"{HOST}:{edge.port}" if method == "CONNECT" else "/"
    said = await send(edge, head(edge, first=f"{method} {target} HTTP/1.1"))
    assert said.statuses == [405]
    assert application.all == b""


# ---- 53: a gate that is down, slow or garbled never means a pass ----

PASS = b"HTTP/1.1 200 OK\r\nX-Env-Upstream: 127.0.0.1:%d\r\nX-Env-Cookie: \r\nContent-Length: 0\r\n\r\n"
GARBLED = [
    b"",
    b"\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Env-Upstream: \r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Env-Upstream: nowhere\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nX-Env-Upstream: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 OK 200\r\nX-Env-Upstream: 127.0.0.1:%d\r\n\r\n",
    b"HTTP/1.1 500 No\r\nX-Env-Upstream: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 403 No\r\nX-Env-Upstream: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 303 See\r\nX-Env-Upstream: 127.0.0.1:%d\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\nX-Env-Upstream: 127.0.0.1:%d\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nX-Env-Upstream: 127.0.0.1:%d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Env-Upstream: 127.0.0.1:%d\r\nX: " + b"x" * 12_000_000 + b"\r\n\r\n",
]


@contextlib.asynccontextmanager
async def instead_of_the_gate(edge: Edge, answer: bytes, *, stays: bool = False) -> AsyncIterator[None]:
    await edge.gate.stop()
    async with gate_that_says(edge.rooms.gate, answer, stays=stays):
        yield


async def test_53_the_stand_in_for_the_gate_can_pass(edge: Edge, application: Arrived) -> None:
    async with instead_of_the_gate(edge, PASS % application.port):
        assert (await send(edge, head(edge))).statuses == [200]
    assert application.all


@pytest.mark.parametrize("answer", GARBLED, ids=[each[:60].decode() for each in GARBLED])
async def test_53_a_garbled_gate_never_passes(edge: Edge, application: Arrived, answer: bytes) -> None:
    said_by_gate = answer.replace(b"%d", str(application.port).encode())
    async with instead_of_the_gate(edge, said_by_gate):
        said = await send(edge, head(edge))
    assert application.all == b""
    assert not [status for status in said.statuses if 200 <= status < 300]
    if not answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 303", b"HTTP/1.1 500", b"HTTP/1.1 1")):
        assert said.statuses[-1] in (502, 503)


async def test_53_half_an_answer_never_passes(edge: Edge, application: Arrived) -> None:
    whole = PASS % application.port
    await edge.gate.stop()
    for length in range(9, len(whole) - 1, 9):
        async with gate_that_says(edge.rooms.gate, whole[:length]):
            said = await send(edge, head(edge, "Connection: close"))
        edge.rooms.gate.unlink(missing_ok=True)
        assert said.statuses[-1] in (502, 503), whole[:length]
    assert application.all == b""


async def test_53_a_gate_that_is_down_or_slow_never_passes(edge: Edge, application: Arrived) -> None:
    await edge.gate.stop()
    assert (await send(edge, head(edge, "Connection: close"), within=8)).statuses[-1] in (502, 503)
    assert application.all == b""
    async with gate_that_says(edge.rooms.gate, (PASS % application.port)[:40], stays=True):
        said = await send(edge, head(edge, "Connection: close"), within=20)
    assert said.statuses[-1] in (502, 503, 504)
    assert application.all == b""


# ---- 54: an open WebSocket ends within 60 s after access ends ----


async def test_54_the_time_between_questions_leaves_room_for_one_that_fails() -> None:
    from cmbcluster.edge import relay

    assert relay.ASK_AGAIN_SECONDS * (1 + relay.FAILURES_FORGIVEN) < 60


@pytest.mark.parametrize("verdict", [Verdict.SIGN_IN, Verdict.NOT_YOURS, Verdict.AT_REST, Verdict.NO_SCOPE])
@pytest.mark.parametrize("talks", [True, False])
async def test_54_an_open_websocket_ends_when_access_does(edge: Edge, verdict: Verdict, talks: bool) -> None:
    let_in(edge, edge.application_port)
    url = f"ws://{HOST}:{edge.port}/"
    async with connect(url, host="127.0.0.1", additional_headers={"Cookie": COOKIE}) as socket:
        await socket.recv()
        edge.access.answer = GateAnswer(verdict, environment=environment())
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(3):
                while True:
                    if talks:
                        await socket.send("hello")
                    await socket.recv()


async def test_54_a_gate_that_fails_ends_it_too(edge: Edge) -> None:
    let_in(edge, edge.application_port)
    async with connect(f"ws://{HOST}:{edge.port}/", host="127.0.0.1", additional_headers={"Cookie": COOKIE}) as socket:
        await socket.recv()
        edge.access.fails = RuntimeError("the database is gone")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 3)


async def test_54_nothing_but_a_websocket_stays_open(edge: Edge, application: Arrived) -> None:
    lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    said = await send(edge, head(edge, *lines))
    assert said.statuses == [200]
    assert b"upgrade" not in application.all.lower()
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{HOST}:{edge.port}/", host="127.0.0.1")
    assert refused.value.response.status_code == 401
