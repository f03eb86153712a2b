"""Sockets are counted by network and by session, and their handshakes by the minute, at the border."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmbcluster import wiring
from cmbcluster.http.session_cookie import SessionCookies
from cmbcluster.http.sockets import SocketsOfNetworks, SocketsOfSessions
from tests.platform import Platform, open_platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    limits = {"sockets_of_address_at_once": 3, "sockets_of_session_at_once": 2, "sockets_per_minute": 12}
    async with open_platform(tmp_path, **limits) as opened:
        wiring.set_parts(opened.parts)
        yield opened
        wiring.set_parts(None)


class Inside:
    """What stands behind the border: accepts, and holds the socket until the client leaves."""

    def __init__(self) -> None:
        self.seen = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen += 1
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


@pytest.fixture
def inside() -> Inside:
    return Inside()


@pytest.fixture
def app(platform: Platform, inside: Inside) -> ASGIApp:
    settings = platform.parts.settings
    return SocketsOfNetworks(SessionCookies(SocketsOfSessions(inside, settings), settings), settings)


@asynccontextmanager
async def socket(
    app: ASGIApp, address: str, token: str = "", *, extensions: bool = True
) -> AsyncIterator[list[Message]]:
    """A socket that is asked for; what the server says first is known when this enters."""
    said: list[Message] = []
    first, left = asyncio.Event(), asyncio.Event()
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "websocket.connect"}
        await left.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        said.append(message)
        first.set()

    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/_event/",
        "client": (address, 0),
        "headers": [(b"cookie", f"cmb_session={token}".encode())] if token else [],
        "extensions": {"websocket.http.response": {}} if extensions else None,
    }
    task = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.wait_for(first.wait(), 5)
    try:
        yield said
    finally:
        left.set()
        await asyncio.wait_for(task, 5)


def accepted(said: list[Message]) -> bool:
    kind: str = said[0]["type"]
    return kind == "websocket.accept"


def status(said: list[Message]) -> int:
    assert said[0]["type"] == "websocket.http.response.start"
    assert int(dict(said[0]["headers"])[b"retry-after"]) >= 1
    return int(said[0]["status"])


async def test_an_address_holds_so_many_and_no_more(app: ASGIApp, inside: Inside) -> None:
    async with AsyncExitStack() as held:
        for _ in range(3):
            assert accepted(await held.enter_async_context(socket(app, "192.0.2.1")))
        async with socket(app, "192.0.2.1") as refused:
            pass
        assert status(refused) == 429
        assert refused[1]["body"].endswith(b"Close some and try again.")
        assert inside.seen == 3
        async with socket(app, "192.0.2.2") as other:
            assert accepted(other)
    async with socket(app, "192.0.2.1") as again:
        assert accepted(again)


async def test_of_ipv6_a_network_is_one_address(app: ASGIApp) -> None:
    async with AsyncExitStack() as held:
        for number in range(3):
            assert accepted(await held.enter_async_context(socket(app, f"2001:db8:1:2::{number}")))
        async with socket(app, "2001:db8:1:2:ffff::9") as refused:
            assert status(refused) == 429
        async with socket(app, "2001:db8:1:3::1") as other:
            assert accepted(other)


async def test_a_session_holds_so_many_wherever_it_is(app: ASGIApp, platform: Platform, inside: Inside) -> None:
    from tests.services.test_accounts import token_of

    elena, ada = await token_of(platform, "elena"), await token_of(platform, "ada")
    async with AsyncExitStack() as held:
        for number in range(2):
            assert accepted(await held.enter_async_context(socket(app, f"192.0.2.{number}", elena)))
        async with socket(app, "192.0.2.9", elena) as refused:
            assert status(refused) == 429
        assert inside.seen == 2
        async with socket(app, "192.0.2.9", ada) as other, socket(app, "192.0.2.9") as visitor:
            assert accepted(other)
            assert accepted(visitor)
    async with socket(app, "192.0.2.9", elena) as again:
        assert accepted(again)


async def test_handshakes_are_counted_by_the_minute(app: ASGIApp, inside: Inside) -> None:
    for _ in range(12):
        async with socket(app, "192.0.2.1") as opened:
            assert accepted(opened)
    async with socket(app, "192.0.2.1") as refused:
        assert status(refused) == 429
    assert inside.seen == 12
    async with socket(app, "192.0.2.1", extensions=False) as closed:
        assert closed == [{"type": "websocket.close", "code": 1013, "reason": "too many sockets"}]


async def test_what_fails_inside_is_not_counted_for_ever(platform: Platform) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")

    app = SocketsOfNetworks(broken, platform.parts.settings)
    for _ in range(10):
        with pytest.raises(RuntimeError, match="broken"):
            await app({"type": "websocket", "client": ("192.0.2.1", 0), "headers": []}, None, None)  # type: ignore[arg-type]
    assert not app._open._open


async def test_requests_are_not_sockets(platform: Platform) -> None:
    seen = 0

    async def pages(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal seen
        seen += 1

    app = SocketsOfNetworks(SocketsOfSessions(pages, platform.parts.settings), platform.parts.settings)
    for _ in range(50):
        await app({"type": "http", "client": ("192.0.2.1", 0), "headers": []}, None, None)  # type: ignore[arg-type]
    assert seen == 50
