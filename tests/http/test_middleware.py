"""The shell around the dashboard: other sites are refused, headers are set, nothing is believed."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy, script_hashes

HOME = "http://localhost:8200"
POLICY = content_security_policy(HOME, ("sha256-abc=",))


async def page(_: Request) -> Response:
    return HTMLResponse("<p>page</p>")


async def own_policy(_: Request) -> Response:
    return PlainTextResponse("x", headers={"Content-Security-Policy": "sandbox", "Cache-Control": "private"})


async def socket(ws: WebSocket) -> None:
    await ws.accept()
    await ws.close()


ROUTES = [
    Route("/", page, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
    Route("/own", own_policy),
    Route("/assets/a.js", page),
    Route("/api/x", page),
    Route("/_upload", page, methods=["POST"]),
    Route("/_event/", page),
    WebSocketRoute("/_event/", socket),
]


@pytest.fixture
def shell() -> Shell:
    """The shell around a few routes."""
    return Shell(Starlette(routes=ROUTES), HOME, POLICY)


@pytest.fixture
def client(shell: Shell) -> httpx.AsyncClient:
    """A client of the shell."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=shell), base_url=HOME)


async def test_headers_of_a_page(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/")).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-cache"
    assert len(headers["x-request-id"]) == 16
    assert "strict-transport-security" not in headers


async def test_an_answer_keeps_what_it_says_itself(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/own")).headers
    assert headers.get_list("content-security-policy") == ["sandbox"]
    assert headers["cache-control"] == "private"


async def test_what_may_be_kept(client: httpx.AsyncClient) -> None:
    assert (await client.get("/assets/a.js")).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await client.get("/assets/none.js")).headers["cache-control"] == "no-store"
    assert (await client.get("/api/x")).headers["cache-control"] == "no-store"


async def test_the_request_id_is_never_the_clients(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"X-Request-Id": "chosen\tby-client"})
    assert "chosen" not in answer.headers["x-request-id"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": HOME}, 200),
        ({"Origin": HOME}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://demo-k7q2mx.localhost:8200"}, 403),
        ({"Origin": "http://localhost:8201"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": HOME}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": HOME}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 403),
    ],
)
async def test_only_our_own_page_may_change_things(
    client: httpx.AsyncClient, method: str, headers: dict[str, str], status: int
) -> None:
    assert (await client.request(method, "/", headers=headers)).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", HOME), ("Origin", "http://evil.example")],
        [("Sec-Fetch-Site", "same-origin"), ("Origin", HOME), ("Origin", HOME)],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site"), ("Origin", HOME)],
    ],
)
async def test_what_a_browser_says_once_is_not_believed_twice(
    client: httpx.AsyncClient, headers: list[tuple[str, str]]
) -> None:
    assert (await client.post("/", headers=headers)).status_code == 403


async def test_the_frameworks_own_ways_are_closed(client: httpx.AsyncClient) -> None:
    own = {"Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/_upload", headers=own)).status_code == 404
    assert (await client.get("/_event/")).status_code == 404


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        (HOME, True),
        (None, False),
        ("null", False),
        ("http://demo-k7q2mx.localhost:8200", False),
        ("http://evil.example", False),
        ((HOME, "http://evil.example"), False),
    ],
)
async def test_sockets_open_for_our_own_page_only(
    shell: Shell, origin: str | tuple[str, ...] | None, accepted: bool
) -> None:
    origins = (origin,) if isinstance(origin, str) else origin or ()
    headers = [(b"host", b"localhost:8200"), *((b"origin", value.encode()) for value in origins)]
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/_event/",
        "raw_path": b"/_event/",
        "query_string": b"",
        "headers": headers,
        "subprotocols": [],
        "scheme": "ws",
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await shell(scope, receive, send)
    assert (sent[0]["type"] == "websocket.accept") is accepted


def test_the_policy_counts_every_inline_script(tmp_path: Path) -> None:
    first, second = "alert(1)", "\n  let a = '<b>';\n"
    (tmp_path / "index.html").write_text(
        f'<script>{first}</script><script src="/a.js"></script><script type="application/json">{{}}</script>'
        f"<SCRIPT type='module' nonce>{second}</SCRIPT>"
    )
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "404.html").write_text(f"<script>{first}</script>")
    expected = {f"sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}" for t in (first, second)}
    assert set(script_hashes(tmp_path)) == expected


def test_the_policy_allows_nothing_loose() -> None:
    scripts = next(part for part in POLICY.split("; ") if part.startswith("script-src"))
    assert scripts == "script-src 'self' 'sha256-abc='"
    assert "unsafe-eval" not in POLICY
    assert "ws://localhost:8200" in POLICY
    assert "form-action 'self' http://*.localhost:8200" in POLICY
    assert "wss://cmb.example.org" in content_security_policy("https://cmb.example.org", ())
