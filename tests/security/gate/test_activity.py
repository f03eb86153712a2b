"""What keeps a session alive on an environment's host: what a person does, and nothing a page does alone."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from websockets.asyncio.client import connect

from cmbcluster.domain.actors import Actor
from cmbcluster.services.access import AccessService
from tests.edge.conftest import Edge
from tests.edge.stand_ins import COOKIE
from tests.platform import KEYRING
from tests.security.gate.conftest import Whole
from tests.security.gate.echo import HOST, head, let_in, send

USER = "Sec-Fetch-User: ?1"
NAVIGATE = "Sec-Fetch-Mode: navigate"
DEEDS = {
    "a page somebody goes to": ("GET", [NAVIGATE, "Sec-Fetch-Dest: document", USER]),
    "a page that a browser without Sec-Fetch-User goes to": ("GET", [NAVIGATE, "Sec-Fetch-Dest: document"]),
    "a page of a browser that tells nothing": ("GET", ["Accept: text/html,*/*"]),
    "a frame that somebody opens": ("GET", [NAVIGATE, "Sec-Fetch-Dest: iframe", USER]),
    "something sent off": ("POST", ["Sec-Fetch-Mode: cors", "Content-Length: 0"]),
    "something saved": ("PUT", ["Content-Length: 0"]),
    "something removed": ("DELETE", []),
    "something changed": ("PATCH", ["Content-Length: 0"]),
}
NO_DEEDS = {
    "polling": ("GET", ["Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: */*"]),
    "polling that claims to want a page": ("GET", ["Sec-Fetch-Mode: cors", "Accept: text/html"]),
    "an image": ("GET", ["Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"]),
    "a frame that loads itself again": ("GET", [NAVIGATE, "Sec-Fetch-Dest: iframe"]),
    "a look at the head": ("HEAD", ["Sec-Fetch-Mode: cors"]),
    "a question before another": ("OPTIONS", ["Sec-Fetch-Mode: cors"]),
    "a program": ("GET", ["Accept: application/json"]),
    "a forged method": ("GET", ["X-Forwarded-Method: POST", "X-HTTP-Method-Override: POST"]),
}


@pytest.mark.parametrize("what", [*DEEDS, *NO_DEEDS])
async def test_what_a_person_does_counts_and_nothing_else(edge: Edge, what: str) -> None:
    let_in(edge, edge.application_port)
    method, lines = (DEEDS | NO_DEEDS)[what]
    await send(edge, head(edge, *lines, "Connection: close", first=f"{method} / HTTP/1.1"))
    assert edge.access.touches == [what in DEEDS]


async def test_a_websocket_counts_when_something_is_said_over_it(edge: Edge) -> None:
    let_in(edge, edge.application_port)
    url = f"ws://{HOST}:{edge.port}/"
    async with connect(url, host="127.0.0.1", additional_headers={"Cookie": COOKIE}) as socket:
        await socket.recv()
        for _ in range(3):
            await (await socket.ping())
            await socket.send("3")
            await socket.recv()
            await asyncio.sleep(0.25)
        assert len(edge.access.touches) > 2
        assert not any(edge.access.touches)
        edge.access.touches.clear()
        await socket.send("run this cell")
        await socket.recv()
        await asyncio.sleep(0.7)
        assert edge.access.touches.count(True) == 1
        assert len(edge.access.touches) > 2


async def last_seen(whole: Whole, actor: Actor) -> datetime:
    """When the actor's session was last seen to do something."""
    assert actor.session_id is not None
    async with whole.platform.parts.database.reading() as work:
        found = await work.sessions.by_id(actor.session_id)
    assert found is not None
    return found[0].last_seen_at


async def test_polling_does_not_keep_a_session_alive(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    _, cookie = await whole.enter(view, await whole.code(elena, view))
    seen = []
    for _ in range(4):
        whole.platform.advance(600)
        seen.append((await whole.get(view, cookie, Sec_Fetch_Mode="cors"))[0])
    assert seen == [200, 200, 401, 401]


async def test_going_to_pages_does(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    _, cookie = await whole.enter(view, await whole.code(elena, view))
    for _ in range(4):
        whole.platform.advance(600)
        assert (await whole.get(view, cookie, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document"))[0] == 200
        assert (whole.platform.clock.at - await last_seen(whole, elena)).total_seconds() == 0
    assert (await whole.get(view, cookie, Sec_Fetch_Mode="cors"))[0] == 200


async def test_what_a_person_does_is_noted_once_a_minute(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    _, cookie = await whole.enter(view, await whole.code(elena, view))
    begun = await last_seen(whole, elena)
    for seconds, noted in ((50, 0), (5, 0), (10, 65), (30, 65), (40, 135)):
        whole.platform.advance(seconds)
        await whole.get(view, cookie, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")
        assert (await last_seen(whole, elena) - begun).total_seconds() == noted


async def test_a_pass_that_is_kept_does_not_hide_what_a_person_does(whole: Whole) -> None:
    parts = whole.platform.parts
    settings = parts.settings.model_copy(update={"session_cache_seconds": 10.0})
    access = AccessService(parts.database, parts.bus, settings, parts.sessions, parts.api_tokens, KEYRING)
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    _, cookie = await whole.enter(view, await whole.code(elena, view))
    begun = await last_seen(whole, elena)
    whole.platform.advance(100)
    await access.authorize(whole.host(view), cookie, touch=False)
    assert len(access._passes) == 1
    assert await last_seen(whole, elena) == begun
    await access.authorize(whole.host(view), cookie, touch=True)
    assert await last_seen(whole, elena) == whole.platform.clock.at


async def test_nor_does_a_question_that_is_just_being_looked_up(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    _, cookie = await whole.enter(view, await whole.code(elena, view))
    whole.platform.advance(100)
    access, host = whole.platform.parts.access, whole.host(view)
    await asyncio.gather(*[access.authorize(host, cookie, touch=number == 5) for number in range(8)])
    assert await last_seen(whole, elena) == whole.platform.clock.at


async def test_a_refused_request_is_no_activity(whole: Whole) -> None:
    elena, ravi = await whole.platform.sign_in("elena"), await whole.platform.sign_in("ravi")
    view = await whole.running(elena)
    await whole.platform.parts.shares.share(elena, view.id, "ravi@example.org")
    _, cookie = await whole.enter(view, await whole.code(ravi, view))
    await whole.platform.parts.shares.withdraw(elena, view.id, ravi.person())
    begun = await last_seen(whole, ravi)
    whole.platform.advance(100)
    page = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert (await whole.get(view, cookie, **page))[0] == 404
    assert await last_seen(whole, ravi) == begun
