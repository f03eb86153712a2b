"""Acts on somebody's account: by admins and the terminal alone, at once, and told to the person."""

from __future__ import annotations

import asyncio

import pytest

from cmbcluster.domain.actors import ANONYMOUS, SYSTEM, Actor, Role, Tier
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE, Verdict
from cmbcluster.errors import Conflict, Forbidden, NotFound, NotSignedIn
from cmbcluster.identity.development import DevelopmentIdentity
from tests.platform import Platform


async def token_of(platform: Platform, person: str) -> str:
    identity = DevelopmentIdentity().sign_in(person)
    return await platform.parts.sessions.sign_in(identity, browser="Firefox", address="127.0.0.1")


async def pass_of(platform: Platform, actor: Actor) -> tuple[str, str]:
    """Host and cookie of a running environment of somebody."""
    view = await platform.running(actor)
    url = await platform.parts.access.mint(actor, view.id)
    host = platform.parts.settings.environment_host(view.slug)
    value = await platform.parts.access.redeem(host, url.split("code=")[1])
    return host, f"{ENVIRONMENT_COOKIE}={value}"


async def test_a_disabled_person_is_out_everywhere_at_once(platform: Platform) -> None:
    parts = platform.parts
    ravi, token = await platform.sign_in("ravi"), await token_of(platform, "elena")
    elena = await parts.sessions.find(token)
    assert elena is not None
    assert elena.user_id is not None
    host, cookie = await pass_of(platform, elena)
    assert (await parts.access.authorize(host, cookie)).verdict is Verdict.PASS
    await parts.accounts.disable(ravi, elena.user_id)
    parts.sessions.forget_answers()  # What the ring does in a running platform.
    parts.access.forget_passes()
    assert await parts.sessions.find(token, opened=True) is None
    assert (await parts.sessions.admit(token)).actor is None
    assert (await parts.access.authorize(host, cookie)).verdict is Verdict.SIGN_IN
    with pytest.raises(Forbidden, match="disabled"):
        await token_of(platform, "elena")
    await parts.accounts.enable(ravi, elena.user_id)
    assert await parts.sessions.find(token, opened=True) is None
    again = await platform.sign_in("elena")
    rows = (await parts.activity.page(again)).rows
    told = [(row.kind, row.actor_name) for row in rows if row.kind.startswith("account_")]
    assert told == [("account_enabled", "Ravi Nair"), ("account_disabled", "Ravi Nair")]


async def test_the_ring_of_a_disabled_person_reaches_every_open_page(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    assert elena.user_id is not None
    async with platform.bus.subscribe("sessions", f"session:{elena.session_id}") as rings:
        await platform.parts.accounts.disable(SYSTEM, elena.user_id)
        assert {(await anext(rings)).topic, (await anext(rings)).topic} == {"sessions", f"session:{elena.session_id}"}


async def test_what_is_followed_with_a_token_of_a_disabled_person_hears_of_it(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    made = await platform.parts.api_tokens.make(elena, "laptop", ["read"], None)
    async with platform.bus.subscribe(f"token:{made.view.id}") as rings:
        await platform.parts.accounts.sign_out(SYSTEM, elena.person())
        await platform.parts.accounts.disable(SYSTEM, elena.person())
        assert (await asyncio.wait_for(anext(rings), 1)).about == "ended"
    assert await platform.parts.api_tokens.find(made.secret) is None


async def test_a_new_role_ends_sessions_and_a_new_tier_does_not(platform: Platform) -> None:
    accounts, sessions = platform.parts.accounts, platform.parts.sessions
    await platform.sign_in("ravi")
    token = await token_of(platform, "ada")
    ada = await sessions.find(token)
    assert ada is not None
    assert ada.user_id is not None
    await accounts.set_tier(SYSTEM, ada.user_id, Tier.PREMIUM)
    richer = await sessions.find(token)
    assert richer is not None
    assert richer.tier is Tier.PREMIUM
    await accounts.set_role(SYSTEM, ada.user_id, Role.ADMIN)
    assert await sessions.find(token) is None
    assert (await platform.sign_in("ada")).role is Role.ADMIN
    await accounts.set_role(SYSTEM, ada.user_id, Role.USER)
    assert (await platform.sign_in("ada")).role is Role.USER


async def test_what_is_so_already_changes_and_tells_nothing(platform: Platform) -> None:
    elena = await platform.sign_in("elena")
    assert elena.user_id is not None
    await platform.parts.accounts.set_role(SYSTEM, elena.user_id, Role.USER)
    await platform.parts.accounts.enable(SYSTEM, elena.user_id)
    rows = (await platform.parts.activity.page(elena)).rows
    assert [row.kind for row in rows] == ["signed_in"]
    assert await platform.parts.sessions.alive(elena.session_id) is not None  # type: ignore[arg-type]


async def test_the_last_admin_and_ones_own_account_are_safe(platform: Platform) -> None:
    accounts = platform.parts.accounts
    ravi, elena = await platform.sign_in("ravi"), await platform.sign_in("elena")
    assert ravi.user_id is not None
    assert elena.user_id is not None
    for act in (accounts.disable(SYSTEM, ravi.user_id), accounts.set_role(SYSTEM, ravi.user_id, Role.USER)):
        with pytest.raises(Conflict, match="last admin"):
            await act
    for act in (accounts.disable(ravi, ravi.user_id), accounts.set_tier(ravi, ravi.user_id, Tier.FREE)):
        with pytest.raises(Conflict, match="your own account"):
            await act
    await accounts.set_role(SYSTEM, elena.user_id, Role.ADMIN)
    await accounts.disable(SYSTEM, ravi.user_id)
    with pytest.raises(Conflict, match="last admin"):
        await accounts.disable(SYSTEM, elena.user_id)


async def test_nobody_else_changes_accounts(platform: Platform) -> None:
    accounts = platform.parts.accounts
    elena, ada = await platform.sign_in("elena"), await platform.sign_in("ada")
    assert ada.user_id is not None
    for actor, error in ((elena, Forbidden), (ANONYMOUS, NotSignedIn)):
        for act in (
            accounts.disable(actor, ada.user_id),
            accounts.enable(actor, ada.user_id),
            accounts.set_role(actor, ada.user_id, Role.ADMIN),
            accounts.set_tier(actor, ada.user_id, Tier.PREMIUM),
        ):
            with pytest.raises(error):
                await act
    with pytest.raises(Forbidden):
        await accounts.person_with(elena, "ada@example.org")
    with pytest.raises(NotFound, match="No people have signed in"):
        await accounts.person_with(SYSTEM, "nobody@example.org")


async def test_an_operator_finds_people_however_their_address_is_written(platform: Platform) -> None:
    accounts = platform.parts.accounts
    elena = await platform.sign_in("elena")
    for words in ("elena@example.org", " Elena@Example.ORG ", "development:elena"):
        assert (await accounts.person_with(SYSTEM, words)).id == elena.user_id
    assert elena.user_id is not None
    await accounts.disable(SYSTEM, elena.user_id)
    assert (await accounts.person_with(SYSTEM, "elena@example.org")).id == elena.user_id
    for words in ("development:", ":", "elena", "development:nobody"):
        with pytest.raises(NotFound):
            await accounts.person_with(SYSTEM, words)


async def test_an_admin_ends_somebodys_sessions_and_they_come_back(platform: Platform) -> None:
    ravi, token = await platform.sign_in("ravi"), await token_of(platform, "elena")
    elena = await platform.parts.sessions.find(token)
    assert elena is not None
    assert elena.user_id is not None
    await platform.parts.accounts.sign_out(ravi, elena.user_id)
    assert await platform.parts.sessions.find(token, opened=True) is None
    again = await platform.sign_in("elena")
    rows = (await platform.parts.activity.page(again)).rows
    assert ("sessions_ended", "Ravi Nair") in [(row.kind, row.actor_name) for row in rows]
