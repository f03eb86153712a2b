"""Sessions: the row decides, at once and everywhere."""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID

import pytest

from cmbcluster.db.environments import Environments
from cmbcluster.db.models import Environment
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE, Verdict
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.errors import Forbidden, NotFound
from cmbcluster.identity.development import DevelopmentIdentity
from tests.platform import Platform


async def _token(platform: Platform, person: str) -> str:
    identity = DevelopmentIdentity().sign_in(person)
    return await platform.parts.sessions.sign_in(identity, browser="Firefox", address="127.0.0.1")


async def test_ending_idle_and_absolute(platform: Platform) -> None:
    sessions = platform.parts.sessions
    token = await _token(platform, "ada")
    platform.advance(1700)
    assert await sessions.find(token, opened=True) is not None  # Activity: the idle time begins again.
    platform.advance(1700)
    assert await sessions.find(token, opened=True) is not None
    platform.advance(1801)
    assert await sessions.find(token, opened=True) is None

    token = await _token(platform, "ada")
    for _ in range(30):
        platform.advance(1500)
        if await sessions.find(token, opened=True) is None:
            break
    assert (platform.clock.at - (await _signed_in_at(platform))).total_seconds() >= 43200


async def _signed_in_at(platform: Platform) -> datetime:
    ada = await platform.sign_in("ada")
    page = await platform.parts.activity.page(ada, kind="signed_in")
    return page.rows[1].at


async def test_a_look_alone_is_no_activity(platform: Platform) -> None:
    token = await _token(platform, "ada")
    for _ in range(4):
        platform.advance(600)
        await platform.parts.sessions.find(token, touch=False, opened=True)
    assert await platform.parts.sessions.find(token, opened=True) is None


async def test_people_end_their_own_sessions_and_nobody_elses(platform: Platform) -> None:
    sessions = platform.parts.sessions
    here, there = await _token(platform, "ada"), await _token(platform, "ada")
    ada = await sessions.find(here)
    elena = await platform.sign_in("elena")
    assert ada is not None
    mine = await sessions.mine(ada)
    assert [view.current for view in mine] == [True, False]
    with pytest.raises(NotFound):
        await sessions.end(elena, mine[1].id)
    assert await sessions.find(there) is not None
    assert await sessions.end_others(ada) == 1
    assert await sessions.find(there) is None
    assert await sessions.find(here) is not None
    await sessions.sign_out(ada)
    assert await sessions.find(here) is None


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "\x00", "ünïcode"])
async def test_odd_tokens_open_nothing(platform: Platform, token: str) -> None:
    assert await platform.parts.sessions.find(token) is None


async def _cookie(platform: Platform, person: str, slug: str, environment_id: UUID) -> tuple[str, str]:
    actor = await platform.sign_in(person)
    url = await platform.parts.access.mint(actor, environment_id)
    host = platform.parts.settings.environment_host(slug)
    assert url.startswith(f"http://{host}/.cmb/enter?code=")
    value = await platform.parts.access.redeem(host, url.split("code=")[1])
    return host, f"{ENVIRONMENT_COOKIE}={value}"


async def test_the_gate_passes_the_owner_to_the_recorded_address(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    host, cookie = await _cookie(platform, "elena", view.slug, view.id)
    answer = await platform.parts.access.authorize(host, "a=b; " + cookie)
    assert answer.verdict is Verdict.PASS
    assert answer.port > 0
    await platform.parts.environments.stop(elena, view.id)
    platform.parts.access.forget_passes()
    assert (await platform.parts.access.authorize(host, cookie)).verdict is Verdict.AT_REST
    await platform.settle()
    stopped = await platform.parts.access.authorize(host, cookie)
    assert stopped.verdict is Verdict.AT_REST
    assert stopped.environment is not None
    assert stopped.environment.phase is Phase.STOPPED


async def test_the_gate_looks_up_equal_questions_once_and_keeps_nothing_older_than_a_change(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    host, cookie = await _cookie(platform, "elena", view.slug, view.id)
    access = platform.parts.access
    looked_up, may_go_on, by_slug = 0, asyncio.Event(), Environments.by_slug

    async def slowly(rows: Environments, slug: str) -> Environment | None:
        nonlocal looked_up
        looked_up += 1
        row = await by_slug(rows, slug)
        await may_go_on.wait()
        return row

    monkeypatch.setattr(Environments, "by_slug", slowly)
    asked = [asyncio.create_task(access.authorize(host, cookie)) for _ in range(20)]
    while not looked_up:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    await platform.parts.environments.stop(elena, view.id)
    access.forget_passes()
    after = asyncio.create_task(access.authorize(host, cookie))
    await asyncio.sleep(0.02)
    may_go_on.set()
    assert {(await task).verdict for task in asked} == {Verdict.PASS}
    assert (await after).verdict is Verdict.AT_REST
    assert looked_up == 2
    assert (await access.authorize(host, cookie)).verdict is Verdict.AT_REST


async def test_a_code_works_once_soon_and_on_its_host(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    one, two = await platform.running(elena, "one"), await platform.running(elena, "two")
    access, settings = platform.parts.access, platform.parts.settings

    async def code() -> str:
        return (await access.mint(elena, one.id)).split("code=")[1]

    used = await code()
    await access.redeem(settings.environment_host(one.slug), used)
    late = await code()
    for name, host, given in (
        ("used", one.slug, used),
        ("other host", two.slug, await code()),
        ("invented", one.slug, "x" * 43),
        ("empty", one.slug, ""),
    ):
        with pytest.raises(Forbidden):
            await access.redeem(settings.environment_host(host), given)
            pytest.fail(name)
    platform.advance(61)
    with pytest.raises(Forbidden):
        await access.redeem(settings.environment_host(one.slug), late)


async def test_an_environment_cookie_dies_with_its_session_and_opens_nothing_else(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    one, two = await platform.running(elena, "one"), await platform.running(elena, "two")
    access, settings = platform.parts.access, platform.parts.settings
    url = await access.mint(elena, one.id)
    host = settings.environment_host(one.slug)
    cookie = f"{ENVIRONMENT_COOKIE}={await access.redeem(host, url.split('code=')[1])}"
    assert (await access.authorize(host, cookie)).verdict is Verdict.PASS
    other = await access.authorize(settings.environment_host(two.slug), cookie)
    assert other.verdict is Verdict.SIGN_IN
    await platform.parts.sessions.sign_out(elena)
    access.forget_passes()
    assert (await access.authorize(host, cookie)).verdict is Verdict.SIGN_IN


async def test_missing_and_foreign_hosts_look_the_same(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    access, settings = platform.parts.access, platform.parts.settings
    foreign = await access.authorize(settings.environment_host(view.slug), "")
    missing = await access.authorize(settings.environment_host("nobody-abcdef"), "")
    assert foreign.verdict is missing.verdict is Verdict.SIGN_IN
    assert foreign.open_url.replace(view.slug, "nobody-abcdef") == missing.open_url
    for host in ("", "localhost", "localhost:8200", f"{view.slug}.evil.org", f"x.{view.slug}.localhost", "["):
        assert (await access.authorize(host, "")).verdict is Verdict.NOT_YOURS


@pytest.mark.parametrize("value", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0.", "x" * 65_000])
async def test_forged_environment_cookies_open_nothing(platform: Platform, value: str) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    host = platform.parts.settings.environment_host(view.slug)
    answer = await platform.parts.access.authorize(host, f"{ENVIRONMENT_COOKIE}={value}")
    assert answer.verdict is Verdict.SIGN_IN


async def test_a_connections_own_re_check_is_no_activity(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena, uptime_seconds=6 * 3600)
    host, cookie = await _cookie(platform, "elena", view.slug, view.id)
    for _ in range(5):
        platform.advance(600)
        await platform.parts.access.authorize(host, cookie, touch=False)
    assert (await platform.parts.access.authorize(host, cookie)).verdict is Verdict.SIGN_IN


async def test_passes_are_kept_by_our_cookie_alone(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    view = await platform.running(elena)
    host, cookie = await _cookie(platform, "elena", view.slug, view.id)
    for number in range(20):
        await platform.parts.access.authorize(host, f"padding{number}={'x' * 1000}; {cookie}")
    assert len(platform.parts.access._passes) == 1
