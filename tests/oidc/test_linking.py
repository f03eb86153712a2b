"""Linking a second account: only by somebody who signed in just now, and never by an address."""

from __future__ import annotations

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.oidc.conftest import Browser, Open, Site

TWO: tuple[dict[str, str], ...] = ({}, {"id": "other", "name": "Other"})


async def signed_in(site: Site, login: str = "alice") -> Browser:
    """A browser in which somebody has signed in at the first provider."""
    browser = site.browser("lab")
    assert (await browser.sign_in(login)).status_code == 303
    browser.id = "other"
    return browser


async def accounts(browser: Browser) -> list[tuple[str, str]]:
    """The person's accounts as the settings show them."""
    actor = await browser.actor()
    assert actor is not None
    return [(view.name, view.email) for view in await browser.platform.parts.sign_ins.identities(actor)]


async def test_item_09_linking_from_a_fresh_session(open_site: Open) -> None:
    async with open_site(*TWO) as site:
        browser = await signed_in(site)
        before = browser.client.cookies[SESSION_COOKIE]
        me = await browser.actor()
        site.provider.control("POST", "forget")
        linked = await browser.come_back(await browser.way_back("carol", act="link"))
        assert (linked.status_code, linked.headers["location"]) == (303, "/settings?tab=profile")
        assert await accounts(browser) == [("Lab", "alice@example.com"), ("Other", "carol@other.example")]
        # A new token, and the old one opens nothing.
        assert await site.platform.parts.sessions.find(before) is None
        # Either account is the same person from now on, under the first one's name.
        other = site.browser("other")
        site.provider.control("POST", "forget")
        await other.sign_in("carol")
        again = await other.actor()
        assert me is not None
        assert again is not None
        assert again.user_id == me.user_id
        (user,) = await other.users()
        assert (user.name, user.email) == ("Alice Example", "alice@example.com")


async def test_item_09_linking_needs_a_session_and_a_fresh_one(open_site: Open) -> None:
    async with open_site(*TWO) as site:
        assert (await site.browser("other").start(act="link")).status_code == 401
        browser = await signed_in(site)
        back = await browser.way_back(act="link")
        site.platform.advance(599)
        assert (await browser.come_back(back)).status_code == 303
        browser = await signed_in(site)
        site.platform.advance(601)
        answer = await browser.start(act="link")
        assert answer.status_code == 403
        assert "needs a sign-in of the last 10 minutes" in answer.text


async def test_item_09_an_address_links_nothing(open_site: Open) -> None:
    async with open_site(*TWO) as site:
        await signed_in(site)
        other = site.browser("other")
        await other.sign_in("alice")
        assert len(await other.users()) == 2


async def test_item_09_somebody_elses_account_is_not_taken(open_site: Open) -> None:
    async with open_site(*TWO) as site:
        await site.browser("other").sign_in("bob")
        browser = await signed_in(site, "bob")
        answer = await browser.come_back(await browser.way_back("bob", act="link"))
        assert answer.status_code == 409
        assert "already signs somebody else in" in answer.text
        assert "You are still signed in" in answer.text
        assert await accounts(browser) == [("Lab", "bob@example.com")]


async def test_item_09_linking_ends_with_the_session_that_began_it(open_site: Open) -> None:
    async with open_site(*TWO) as site:
        browser = await signed_in(site)
        back = await browser.way_back(act="link")
        browser.id = "lab"
        await browser.sign_in("alice")
        answer = await browser.come_back(back)
        assert answer.status_code == 403
        assert "while the account was being linked" in answer.text
        del browser.client.cookies[SESSION_COOKIE]
        browser.id = "other"


async def test_linking_somebody_who_may_not_enter(open_site: Open) -> None:
    async with open_site({}, {"id": "other", "name": "Other", "allowed": {"domains": ["other.example"]}}) as site:
        browser = await signed_in(site)
        answer = await browser.come_back(await browser.way_back("alice", act="link"))
        assert answer.status_code == 403
        assert await accounts(browser) == [("Lab", "alice@example.com")]


async def test_linking_takes_no_role_away(open_site: Open) -> None:
    rules = {"roles": [{"claim": "groups", "contains": "admins", "role": "admin"}]}
    async with open_site(rules, {"id": "other", "name": "Other"}) as site:
        browser = await signed_in(site)
        site.provider.control("POST", "forget")
        await browser.come_back(await browser.way_back("carol", act="link"))
        actor = await browser.actor()
        assert actor is not None
        assert actor.role == "admin"
        # Who comes by the other account has what its rules give.
        other = site.browser("other")
        await other.sign_in("carol")
        actor = await other.actor()
        assert actor is not None
        assert actor.role == "user"


async def test_linking_again_changes_nothing(open_site: Open) -> None:
    async with open_site(*TWO) as site:
        browser = await signed_in(site)
        for _ in range(2):
            answer = await browser.come_back(await browser.way_back("alice", act="link"))
            assert answer.status_code == 303
        assert len(await accounts(browser)) == 2
