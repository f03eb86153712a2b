"""Items 54, 56 and 57 with the real services behind the real edge: codes, cookies, and how access ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from cmbcluster.domain.actors import SYSTEM, Actor
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.settings import Settings
from tests.security.gate.conftest import Whole
from tests.services.test_shares import make_admin

# ---- 56: environments have hosts of their own ----


async def test_56_every_environment_has_a_host_that_nothing_else_has(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    one, two = await whole.running(elena, "one"), await whole.running(elena, "two")
    settings = whole.platform.parts.settings
    hosts = {whole.host(one), whole.host(two), settings.host}
    assert len(hosts) == 3
    assert re.fullmatch(r"one-[a-z0-9]{6}\.localhost:\d+", whole.host(one))
    _, cookie = await whole.enter(one, await whole.code(elena, one))
    assert (await whole.get(one, cookie))[0] == 200
    assert (await whole.get(two, cookie))[0] == 401


async def test_56_a_cookie_of_a_host_is_of_that_host_alone(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    code = await whole.code(elena, view)
    answer = await whole.edge.client.get(f"/.cmb/enter?code={code}", headers={"Host": whole.host(view)})
    cookies = answer.headers.get_list("set-cookie")
    assert cookies
    for cookie in cookies:
        assert "domain" not in cookie.lower()
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert code not in answer.headers["location"]


async def test_56_a_cookie_that_somebody_else_planted_does_not_stand_before_ours(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    _, cookie = await whole.enter(view, await whole.code(elena, view))
    # A neighbour's script can plant one for all hosts; browsers send what is older first.
    assert (await whole.get(view, f"{cookie}; cmb_environment=planted"))[0] == 200
    # What looks like a cookie inside another one is none.
    assert (await whole.get(view, f'a="x {cookie}"'))[0] == 401
    assert (await whole.get(view, f"a=x {cookie}"))[0] == 401


# ---- 57: one-time codes ----


async def test_57_a_code_works_once(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    code = await whole.code(elena, view)
    status, cookie = await whole.enter(view, code)
    assert status == 303
    assert (await whole.get(view, cookie))[0] == 200
    assert await whole.enter(view, code) == (403, "")


async def test_57_a_code_that_two_present_at_once_works_for_one(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    code = await whole.code(elena, view)
    tried = await asyncio.gather(*[whole.enter(view, code) for _ in range(8)])
    assert sorted(status for status, _ in tried) == [303, *[403] * 7]


async def test_57_a_code_of_another_host_is_refused_and_used_up(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    one, two = await whole.running(elena, "one"), await whole.running(elena, "two")
    code = await whole.code(elena, one)
    assert await whole.enter(two, code) == (403, "")
    assert await whole.enter(one, code) == (403, "")


async def test_57_a_code_is_too_old_after_60_seconds(whole: Whole) -> None:
    assert Settings.model_fields["gate_code_seconds"].default <= 60
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    young, old = await whole.code(elena, view), await whole.code(elena, view)
    whole.platform.advance(59)
    assert (await whole.enter(view, young))[0] == 303
    whole.platform.advance(2)
    assert await whole.enter(view, old) == (403, "")


async def test_57_a_code_ends_with_its_session_and_with_no_other(whole: Whole) -> None:
    here, there = await whole.platform.sign_in("elena"), await whole.platform.sign_in("elena")
    view = await whole.running(here)
    of_here, of_there = await whole.code(here, view), await whole.code(there, view)
    _, open_here = await whole.enter(view, await whole.code(here, view))
    _, open_there = await whole.enter(view, await whole.code(there, view))
    await whole.platform.parts.sessions.sign_out(here)
    assert await whole.enter(view, of_here) == (403, "")
    assert (await whole.get(view, open_here))[0] == 401
    assert (await whole.enter(view, of_there))[0] == 303
    assert (await whole.get(view, open_there))[0] == 200


@pytest.mark.parametrize("code", ["", "x", "x" * 43, "x" * 5000, "%00", "a&code=b"])
async def test_57_invented_codes_open_nothing(whole: Whole, code: str) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    await whole.code(elena, view)
    assert await whole.enter(view, code) == (403, "")


async def test_57_a_code_is_kept_as_a_hash_alone(whole: Whole) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    code = await whole.code(elena, view)
    for file in whole.platform.parts.settings.data_dir.glob("*.db*"):
        assert code.encode() not in file.read_bytes()


# ---- 54: WebSockets and requests end when access does, whatever ends it ----


async def stop(whole: Whole, _elena: Actor, view: EnvironmentView, _ravi: Actor) -> None:
    await whole.platform.parts.environments.stop(_elena, view.id)


async def delete(whole: Whole, elena: Actor, view: EnvironmentView, _ravi: Actor) -> None:
    await whole.platform.parts.environments.delete(elena, view.id, typed_name="", remove_workspace=False)


async def sign_out(whole: Whole, _elena: Actor, _view: EnvironmentView, ravi: Actor) -> None:
    await whole.platform.parts.sessions.sign_out(ravi)


async def disable_owner(whole: Whole, elena: Actor, _view: EnvironmentView, _ravi: Actor) -> None:
    await whole.platform.parts.accounts.disable(SYSTEM, elena.person())


async def disable_guest(whole: Whole, _elena: Actor, _view: EnvironmentView, ravi: Actor) -> None:
    await make_admin(whole.platform)
    await whole.platform.parts.accounts.disable(SYSTEM, ravi.person())


async def withdraw(whole: Whole, elena: Actor, view: EnvironmentView, ravi: Actor) -> None:
    await whole.platform.parts.shares.withdraw(elena, view.id, ravi.person())


End = Callable[[Whole, Actor, EnvironmentView, Actor], Awaitable[None]]
ENDS = [(stop, 503), (delete, 404), (sign_out, 401), (disable_owner, 404), (disable_guest, 401), (withdraw, 404)]


@pytest.mark.parametrize(("end", "status"), ENDS)
async def test_54_a_guests_websocket_and_requests_end(whole: Whole, end: End, status: int) -> None:
    elena, ravi = await whole.platform.sign_in("elena"), await whole.platform.sign_in("ravi")
    view = await whole.running(elena)
    await whole.platform.parts.shares.share(elena, view.id, "ravi@example.org")
    _, cookie = await whole.enter(view, await whole.code(ravi, view))
    assert (await whole.get(view, cookie))[0] == 200
    async with connect(f"ws://{whole.host(view)}/", host="127.0.0.1", additional_headers={"Cookie": cookie}) as socket:
        await socket.recv()
        await socket.send("still open")
        assert await socket.recv() == "still open"
        await end(whole, elena, view, ravi)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 3)
    assert (await whole.get(view, cookie))[0] == status


@pytest.mark.parametrize("end", [stop, delete, disable_owner])
async def test_54_so_do_the_owners(whole: Whole, end: End) -> None:
    elena = await whole.platform.sign_in("elena")
    view = await whole.running(elena)
    _, cookie = await whole.enter(view, await whole.code(elena, view))
    async with connect(f"ws://{whole.host(view)}/", host="127.0.0.1", additional_headers={"Cookie": cookie}) as socket:
        await socket.recv()
        await end(whole, elena, view, elena)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 3)


# ---- sharing through the gate ----


async def test_an_application_is_not_told_who_comes(whole: Whole) -> None:
    elena, ravi = await whole.platform.sign_in("elena"), await whole.platform.sign_in("ravi")
    view = await whole.running(elena)
    await whole.platform.parts.shares.share(elena, view.id, "Ravi Nair")
    told = []
    for person in (elena, ravi):
        _, cookie = await whole.enter(view, await whole.code(person, view))
        told.append((await whole.get(view, cookie))[1])
    assert told[0] == told[1]
    assert "Ravi" not in told[1]
    assert str(ravi.user_id) not in told[1]


async def test_a_guest_sees_that_it_does_not_run_and_cannot_start_it(whole: Whole) -> None:
    elena, ravi = await whole.platform.sign_in("elena"), await whole.platform.sign_in("ravi")
    view = await whole.running(elena)
    await whole.platform.parts.shares.share(elena, view.id, "ravi@example.org")
    _, of_owner = await whole.enter(view, await whole.code(elena, view))
    _, of_guest = await whole.enter(view, await whole.code(ravi, view))
    await whole.platform.parts.environments.stop(elena, view.id)
    await whole.platform.settle()
    status, page = await whole.get(view, of_guest, Accept="text/html")
    assert status == 503
    assert "planck is not running" in page
    assert "Only its owner can start it." in page
    for word in ("Start again", f"/environments/{view.id}", "You stopped it", "CPU"):
        assert word not in page
    assert "Start again" in (await whole.get(view, of_owner, Accept="text/html"))[1]
    await whole.platform.parts.environments.start(elena, view.id)
    _, page = await whole.get(view, of_guest, Accept="text/html")
    assert "planck is on its way" in page
    assert f"/environments/{view.id}" not in page
    assert (await whole.get(view, of_guest, Sec_Fetch_Mode="cors"))[0] == 503
