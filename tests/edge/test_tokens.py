"""Personal tokens on the way to an environment: they open it, stop there, and end what they opened."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cmbcluster.domain.gate import GateAnswer, Verdict
from cmbcluster.domain.tokens import token_of
from tests.edge.conftest import Edge
from tests.edge.stand_ins import COOKIE, raw_request

TOKEN = token_of(2**250 + 7)


@pytest.fixture(autouse=True)
def known(edge: Edge) -> None:
    """The application is there for whoever shows the token."""
    edge.access.known_tokens.add(TOKEN)
    edge.access.answer = GateAnswer(Verdict.PASS, host="127.0.0.1", port=edge.application_port)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "token"])
async def test_a_token_opens_and_never_reaches_the_application(edge: Edge, scheme: str) -> None:
    answer = await edge.get("/api/kernels", Authorization=f"{scheme} {TOKEN}")
    assert answer.status_code == 200
    assert TOKEN not in answer.text
    assert "authorization" not in {name.lower() for name, _ in answer.json()["headers"]}
    assert edge.access.tokens_seen == [TOKEN]


async def test_a_wrong_token_is_told_so_and_never_led_to_a_page(edge: Edge) -> None:
    wrong = token_of(1)
    for headers in ({}, {"Accept": "text/html"}, {"Cookie": COOKIE}):
        refused = await edge.get(Authorization=f"Bearer {wrong}", **headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert "location" not in refused.headers
        assert wrong not in refused.text


async def test_a_token_without_the_scope(edge: Edge) -> None:
    edge.access.answer = GateAnswer(Verdict.NO_SCOPE)
    refused = await edge.get(Authorization=f"Bearer {TOKEN}", Accept="text/html")
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    assert "does not have the scope launch" in refused.text


async def test_an_applications_own_authorization_is_none_of_ours(edge: Edge) -> None:
    for value in ("Bearer of-the-application", "Basic dTpw", "token abc"):
        answer = await edge.get(Authorization=value, Cookie=COOKIE)
        assert answer.status_code == 200
        assert edge.access.tokens_seen[-1] == ""


async def test_two_authorizations_are_none(edge: Edge) -> None:
    answer = await raw_request(
        edge.port,
        f"GET / HTTP/1.1\nHost: demo-k7q2mx.localhost:{edge.port}\nAuthorization: Bearer {TOKEN}\n"
        f"Authorization: Bearer {TOKEN}\nConnection: close\n\n",
    )
    assert answer.startswith("HTTP/1.1 401")


async def test_an_open_websocket_ends_with_its_token(edge: Edge) -> None:
    url = f"ws://demo-k7q2mx.localhost:{edge.port}/api/kernels"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with connect(url, host="127.0.0.1", additional_headers=headers) as socket:
        assert TOKEN not in json.dumps(await socket.recv())
        await asyncio.sleep(0.5)
        await socket.send("still open")
        assert await socket.recv() == "still open"
        edge.access.known_tokens.clear()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
    # The relay's own question is no use of the token.
    assert edge.access.touches[0] is True
    assert edge.access.touches[1:]
    assert not any(edge.access.touches[1:])


async def test_a_page_of_another_host_opens_no_socket_with_a_token_either(edge: Edge) -> None:
    url = f"ws://demo-k7q2mx.localhost:{edge.port}/x"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, host="127.0.0.1", additional_headers=headers, origin="http://evil.example")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
