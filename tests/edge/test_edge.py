"""The way of a request through a real Caddy and the gate: what passes, what is taken out, what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cmbcluster.domain.gate import GateAnswer, Verdict
from tests.edge.conftest import Edge
from tests.edge.stand_ins import COOKIE, environment, raw_request

FORGED = {
    "X-Env-Upstream": "127.0.0.1:1",
    "x_env_upstream": "127.0.0.1:1",
    "X-Env-Ticket": "guess",
    "X-Env-Upgrade": "websocket",
    "X-Env-Cookie": "stolen=1",
    "X-Forwarded-For": "10.1.2.3",
    "X_Forwarded_For": "10.1.2.3",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-User": "root",
    "X-Real-IP": "10.1.2.3",
    "Forwarded": "for=10.1.2.3",
    "X-Auth-Request-User": "root",
    "X-User": "root",
    "X-Remote-User": "root",
    "Remote_User": "root",
}


def let_pass(edge: Edge) -> None:
    edge.access.answer = GateAnswer(Verdict.PASS, host="127.0.0.1", port=edge.application_port)


def headers_of(response: httpx.Response) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for name, value in response.json()["headers"]:
        told.setdefault(name.lower(), []).append(value)
    return told


async def test_passes_to_the_address_the_gate_names_without_our_cookies(edge: Edge) -> None:
    let_pass(edge)
    cookie = f"first=1; {COOKIE}; cmb_session=dashboard; __Host-cmb_session=x; last=2"
    answer = await edge.get("/lab?x=1", Cookie=cookie, Authorization="Bearer mine")
    assert answer.status_code == 200
    assert answer.json()["path"] == "/lab?x=1"
    told = headers_of(answer)
    assert told["cookie"] == ["first=1; last=2"]
    assert told["host"] == [f"demo-k7q2mx.localhost:{edge.port}"]
    assert "authorization" not in told
    assert edge.access.asked[0] == (f"demo-k7q2mx.localhost:{edge.port}", cookie)


async def test_no_cookie_at_all_is_left_when_all_were_ours(edge: Edge) -> None:
    let_pass(edge)
    told = headers_of(await edge.get(Cookie=COOKIE))
    assert "cookie" not in told
    assert "opaque-value" not in json.dumps(told)


async def test_several_cookie_lines_are_cleaned_too(edge: Edge) -> None:
    let_pass(edge)
    answer = await raw_request(
        edge.port,
        f"GET / HTTP/1.1\nHost: demo-k7q2mx.localhost:{edge.port}\nCookie: {COOKIE}\nCookie: a=1; cmb_session=s\n"
        "Connection: close\n\n",
    )
    assert '["Cookie", "a=1"]' in answer
    assert "opaque-value" not in answer


async def test_forged_headers_reach_neither_application_nor_dashboard(edge: Edge) -> None:
    let_pass(edge)
    lines = "".join(f"{name}: {value}\n" for name, value in FORGED.items())
    for host in (f"demo-k7q2mx.localhost:{edge.port}", f"localhost:{edge.port}"):
        answer = await raw_request(
            edge.port, f"GET / HTTP/1.1\nHost: {host}\nCookie: {COOKIE}\n{lines}Connection: close\n\n"
        )
        assert answer.startswith("HTTP/1.1 200"), answer
        told = {name.lower(): value for name, value in json.loads(answer.partition("\r\n\r\n")[2])["headers"]}
        assert told.pop("x-forwarded-for") == "127.0.0.1"
        assert told.pop("x-forwarded-host") == host
        assert told.pop("x-forwarded-proto") == "http"
        assert not {
            name for name in told if name.startswith(("x-env", "x-forw", "x-real", "x-auth", "x-user", "x-rem"))
        }
        assert not {name for name in told if "_" in name or name == "forwarded"}


async def test_an_application_cannot_set_cookies_for_others(edge: Edge) -> None:
    let_pass(edge)
    cookies = (await edge.get(Cookie=COOKIE)).headers.get_list("set-cookie")
    assert "plain=1; Path=/" in cookies
    assert "wide=2; Path=/" in cookies
    assert not any("evil" in cookie or "domain" in cookie.lower() for cookie in cookies)


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.UNSEEN])
async def test_a_pass_without_an_address_is_no_pass(edge: Edge, verdict: Verdict) -> None:
    edge.access.answer = GateAnswer(verdict)
    assert (await edge.get(Cookie=COOKIE)).status_code == 503


async def test_a_gate_that_fails_never_passes(edge: Edge) -> None:
    let_pass(edge)
    edge.access.fails = RuntimeError("database is gone")
    assert (await edge.get(Cookie=COOKIE)).status_code == 503
    edge.access.fails = None
    await edge.gate.stop()
    assert (await edge.get(Cookie=COOKIE)).status_code == 503


async def test_an_application_that_does_not_answer_gets_a_page(edge: Edge) -> None:
    edge.access.answer = GateAnswer(Verdict.PASS, host="127.0.0.1", port=1)
    answer = await edge.get(Cookie=COOKIE, Accept="text/html")
    assert answer.status_code == 503
    assert "did not answer" in answer.text
    assert answer.headers["retry-after"] == "5"


async def test_pages_and_programs_without_a_cookie(edge: Edge) -> None:
    page = await edge.get("/lab/tree/a%20b?x=1", Sec_Fetch_Mode="navigate")
    assert page.status_code == 303
    assert page.headers["location"] == "http://localhost:8200/open/some-id"
    assert page.headers["set-cookie"].startswith("cmb_return=%2Flab%2Ftree%2Fa%2520b%3Fx%3D1; Max-Age=300;")
    fetched = await edge.get("/api", Sec_Fetch_Mode="cors", Accept="text/html")
    assert fetched.status_code == 401
    assert "location" not in fetched.headers


async def test_the_code_becomes_a_cookie_of_this_host_once(edge: Edge) -> None:
    edge.access.codes["good"] = "opaque-value"
    headed = await edge.client.head("/.cmb/enter?code=good", headers={"Host": f"demo-k7q2mx.localhost:{edge.port}"})
    assert headed.status_code == 405
    entered = await edge.get("/.cmb/enter?code=good", Cookie="cmb_return=%2Flab%2Ftree%2Fa%2520b%3Fx%3D1")
    assert entered.status_code == 303
    assert entered.headers["location"] == "/lab/tree/a%20b?x=1"
    cookie, gone = entered.headers.get_list("set-cookie")
    assert cookie == "cmb_environment=opaque-value; Max-Age=43200; Path=/; HttpOnly; SameSite=Lax"
    assert gone.startswith("cmb_return=; Max-Age=0")
    again = await edge.get("/.cmb/enter?code=good")
    assert again.status_code == 403
    assert "This link was used already or is too old" in again.text
    assert 'href="http://localhost:8200/open/some-id"' in again.text
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    "there", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/.cmb/enter"]
)
async def test_the_way_back_stays_on_this_host(edge: Edge, there: str) -> None:
    from urllib.parse import quote

    edge.access.codes["good"] = "opaque-value"
    entered = await edge.get("/.cmb/enter?code=good", Cookie="cmb_return=" + quote(there, safe=""))
    assert entered.headers["location"] == "/"


async def test_missing_and_foreign_look_the_same(edge: Edge) -> None:
    edge.access.answer = GateAnswer(Verdict.NOT_YOURS)
    answer = await edge.get(Cookie=COOKIE, Accept="text/html")
    assert answer.status_code == 404
    assert "There is no such environment, or it is not yours" in answer.text


async def test_a_stopped_environment_shows_its_page(edge: Edge) -> None:
    edge.access.answer = GateAnswer(Verdict.AT_REST, environment=environment())
    answer = await edge.get(Cookie=COOKIE, Accept="text/html")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["cache-control"] == "no-store"
    assert "planck-lowl-anomalies is stopped" in answer.text
    assert f'href="http://localhost:{edge.port}/environments/0190163d-8694-739b-aea5-966c26f8ad91"' in answer.text
    fetched = await edge.get(Cookie=COOKIE, Sec_Fetch_Mode="cors")
    assert fetched.headers["content-type"].startswith("text/plain")


async def test_websocket_both_ways(edge: Edge) -> None:
    let_pass(edge)
    url = f"ws://demo-k7q2mx.localhost:{edge.port}/api/kernels"
    headers = {"Cookie": f"{COOKIE}; mine=1", "X-Env-Ticket": "guess"}
    async with connect(url, host="127.0.0.1", additional_headers=headers, max_size=None) as socket:
        told = {name.lower(): value for name, value in json.loads(await socket.recv())}
        assert told["cookie"] == "mine=1"
        assert not {name for name in told if name.startswith("x-env")}
        await socket.send("text")
        assert await socket.recv() == "text"
        large = os.urandom(3_000_000)
        await socket.send(large)
        assert await socket.recv() == large


async def test_websocket_refused_without_cookie_or_from_another_page(edge: Edge) -> None:
    let_pass(edge)
    url = f"ws://demo-k7q2mx.localhost:{edge.port}/x"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, host="127.0.0.1")
    assert refused.value.response.status_code == 401
    for origin in ("http://other-k7q2mx.localhost", "null"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, host="127.0.0.1", additional_headers={"Cookie": COOKIE}, origin=origin)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    async with connect(
        url,
        host="127.0.0.1",
        additional_headers={"Cookie": COOKIE},
        origin=f"http://demo-k7q2mx.localhost:{edge.port}",  # type: ignore[arg-type]
    ) as socket:
        await socket.recv()


async def test_a_refused_handshake_keeps_no_connection_to_the_relay(edge: Edge) -> None:
    let_pass(edge)
    url = f"ws://demo-k7q2mx.localhost:{edge.port}/refuse"
    for _ in range(3):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, host="127.0.0.1", additional_headers={"Cookie": COOKIE})
        assert refused.value.response.status_code == 403
    async with connect(url.replace("refuse", "x"), host="127.0.0.1", additional_headers={"Cookie": COOKIE}) as socket:
        await socket.recv()


@pytest.mark.parametrize("verdict", [Verdict.SIGN_IN, Verdict.AT_REST, Verdict.NOT_YOURS])
async def test_an_open_websocket_ends_when_access_ends(edge: Edge, verdict: Verdict) -> None:
    let_pass(edge)
    url = f"ws://demo-k7q2mx.localhost:{edge.port}/x"
    async with connect(url, host="127.0.0.1", additional_headers={"Cookie": COOKIE}) as socket:
        await socket.recv()
        await asyncio.sleep(0.5)
        await socket.send("still open")
        assert await socket.recv() == "still open"
        edge.access.answer = GateAnswer(verdict, environment=environment())
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)


async def test_the_socket_of_the_relay_needs_a_ticket(edge: Edge) -> None:
    reader, writer = await asyncio.open_unix_connection(str(edge.rooms.relay))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Env-Ticket: guess\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 503")
    writer.close()


async def test_hosts(edge: Edge) -> None:
    for host, status in (("evil.example", 421), ("a.b.localhost", 421), ("localhost.evil.example", 421)):
        assert (await edge.get(host=host)).status_code == status, host
    home = await edge.get("/catalogue?x=1", host="127.0.0.1")
    assert home.status_code == 308
    assert home.headers["location"] == f"http://localhost:{edge.port}/catalogue?x=1"
    assert (await edge.get("/catalogue", host="localhost")).json()["path"] == "/catalogue"
    assert (await edge.get("/authorize", host="localhost")).json()["path"] == "/authorize"


async def test_assets_come_from_the_edge_itself(edge: Edge) -> None:
    asset = await edge.get("/assets/app-1.js", host="localhost")
    assert asset.text == "console.log('hello')\n"
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await edge.get("/assets/missing.js", host="localhost")).json()["path"] == "/assets/missing.js"
    assert "not an asset" not in (await edge.get("/assets/..%2fsecret.txt", host="localhost")).text


async def test_the_plain_pages_find_their_font(edge: Edge) -> None:
    for host in ("localhost", "demo-k7q2mx.localhost"):
        assert (await edge.get("/.cmb/inter.woff2", host=host)).content == b"font"
    assert edge.access.asked == []


async def test_a_stream_arrives_at_once_and_ends_with_its_reader(edge: Edge) -> None:
    request = edge.client.build_request("GET", "/stream", headers={"Host": f"localhost:{edge.port}"})
    answer = await edge.client.send(request, stream=True)
    lines = answer.aiter_lines()
    assert await asyncio.wait_for(anext(lines), 2) == "first"
    assert edge.streams.open == 1
    await answer.aclose()
    for _ in range(60):
        await asyncio.sleep(0.05)
        if not edge.streams.open:
            return
    pytest.fail("the stream goes on without anybody who reads it")


async def test_a_caddy_that_dies_comes_back(edge: Edge) -> None:
    first = edge.caddy.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    for _ in range(100):
        await asyncio.sleep(0.1)
        if edge.caddy.pid != first and psutil.pid_exists(edge.caddy.pid or 0):
            try:
                assert (await edge.get("/x", host="localhost")).status_code == 200
            except httpx.TransportError:
                continue
            return
    pytest.fail("Caddy did not come back within 10 s")


async def chain_at_the_dashboard(edge: Edge, **forged: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in forged.items()}
    answer = await edge.client.get("/x", headers={"Host": f"localhost:{edge.port}", **named})
    told = dict(answer.json()["headers"])
    return {name: told[name] for name in ("x-cmb-chain", "x-forwarded-for") if told.get(name)}


async def test_without_proxies_nobodys_word_about_addresses_gets_in(edge: Edge) -> None:
    told = await chain_at_the_dashboard(edge, X_Forwarded_For="6.6.6.6", X_Cmb_Chain="6.6.6.6")
    assert told == {"x-forwarded-for": "127.0.0.1"}


@pytest.mark.parametrize("behind_proxies", [True])
async def test_behind_proxies_their_word_is_kept_apart_from_what_the_edge_saw(edge: Edge) -> None:
    told = await chain_at_the_dashboard(edge, X_Forwarded_For="6.6.6.6, 203.0.113.9", X_Cmb_Chain="7.7.7.7")
    assert told == {"x-cmb-chain": "6.6.6.6, 203.0.113.9", "x-forwarded-for": "127.0.0.1"}
