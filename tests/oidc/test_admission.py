"""Who may enter and as what, with Google's shape and with any other provider's."""

from __future__ import annotations

from html import unescape

import pytest
from pydantic import SecretStr

from cmbcluster.db.models import User
from cmbcluster.domain.actors import SYSTEM, Role
from cmbcluster.errors import NotFound
from cmbcluster.settings import Settings
from tests.oidc.conftest import Browser, Open, query_of
from tests.oidc.served import CLIENT_ID, CLIENT_SECRET

GOOGLE = {
    "id": "google",
    "preset": "google",
    "name": "Google",
    "scopes": ("openid", "email", "profile"),
    "allowed": {"domains": ["example.com"]},
}


async def only(browser: Browser) -> User:
    """The one person there is."""
    (user,) = await browser.users()
    return user


async def test_google_lets_in_its_domains_alone(open_site: Open) -> None:
    async with open_site(GOOGLE, contact="Ada <ada@example.com>") as site:
        browser = site.browser("google")
        asked = query_of(await browser.way_there())
        assert asked["hd"] == "example.com"
        assert asked["scope"] == "openid email profile"
        for login in ("carol", "erin", "frank", "dave", "zoe"):
            answer = await browser.sign_in(login)
            assert answer.status_code == 403, login
            site.provider.control("POST", "forget")
        assert "Ask Ada <ada@example.com> to let you in" in unescape(answer.text)
        assert await browser.users() == []
        assert (await browser.sign_in("alice")).status_code == 303


@pytest.mark.parametrize("fault", ["wrong_hd", "missing_hd"])
async def test_google_needs_the_claim_of_the_organisation(open_site: Open, fault: str) -> None:
    async with open_site(GOOGLE) as site:
        browser = site.browser("google")
        site.provider.fault("userinfo", claims={"hd": None})
        site.provider.fault(fault)
        assert (await browser.sign_in()).status_code == 403
        assert await browser.users() == []


async def test_google_needs_a_verified_address_too(open_site: Open) -> None:
    async with open_site(GOOGLE) as site:
        for fault in ("unverified_email", "string_email_verified"):
            site.provider.fault(fault)
            assert (await site.browser("google").sign_in()).status_code == 403


async def test_a_refusal_is_logged_and_makes_nothing(open_site: Open, capfd: pytest.CaptureFixture[str]) -> None:
    async with open_site({"allowed": {"people": ["bob@example.com"]}}) as site:
        answer = await site.browser().sign_in("alice")
        assert answer.status_code == 403
        assert "alice@example.com at Lab may not use this platform" in answer.text
        assert "set-cookie" not in answer.headers
        said = "".join(capfd.readouterr())
        assert "not admitted" in said
        assert "1001" in said
        assert await site.browser().users() == []


@pytest.mark.parametrize(
    ("allowed", "enter", "stay_out"),
    [
        ({"domains": ["EXAMPLE.com"]}, ["alice", "bob", "mallory"], ["carol", "dave", "erin", "frank", "zoe"]),
        ({"domains": ["exämple.com"]}, ["zoe"], ["alice"]),
        ({"people": ["Alice@Example.com"]}, ["alice", "mallory"], ["bob", "frank"]),
        ({"claims": [{"claim": "groups", "contains": "staff"}]}, ["alice", "bob", "zoe"], ["carol", "frank"]),
        ({"people": ["carol@other.example"], "domains": ["mail.example"]}, ["carol", "erin"], ["alice"]),
        ("everybody", ["alice", "dave", "frank"], []),
    ],
)
async def test_who_may_enter(open_site: Open, allowed: object, enter: list[str], stay_out: list[str]) -> None:
    async with open_site({"allowed": allowed}) as site:
        for login in enter + stay_out:
            site.provider.control("POST", "forget")
            answer = await site.browser().sign_in(login)
            assert answer.status_code == (303 if login in enter else 403), login


async def test_the_first_visitor_becomes_nothing(open_site: Open) -> None:
    async with open_site() as site:
        await site.browser().sign_in("alice")
        user = await only(site.browser())
        assert (user.role, user.tier) == ("user", "free")


async def test_admins_are_those_of_the_setting_and_lose_it_with_the_setting(open_site: Open) -> None:
    async with open_site(admins=("ALICE@example.com", "dave@example.com", "zoe@example.com")) as site:
        for login in ("alice", "dave", "frank"):
            site.provider.control("POST", "forget")
            await site.browser().sign_in(login)
        roles = {user.name.split()[0]: user.role for user in await site.browser().users()}
        assert roles == {"Alice": "admin", "Dave": "user", "Frank": "user"}
        # The operator takes the address away: the next sign-in is that of a researcher.
        object.__setattr__(site.platform.parts.settings, "admins", ())
        browser = site.browser()
        site.provider.control("POST", "forget")
        await browser.sign_in("alice")
        actor = await browser.actor()
        assert actor is not None
        assert actor.role == "user"


async def test_a_granted_role_stays(open_site: Open) -> None:
    async with open_site() as site:
        await site.browser().sign_in("bob")
        accounts = site.platform.parts.accounts
        await accounts.set_role(SYSTEM, (await accounts.person_with(SYSTEM, "bob@example.com")).id, Role.ADMIN)
        await site.browser().sign_in("bob")
        assert (await only(site.browser())).role == "admin"


async def test_grant_finds_verified_addresses_alone(open_site: Open) -> None:
    async with open_site() as site:
        await site.browser().sign_in("dave")
        with pytest.raises(NotFound, match="verified address"):
            await site.platform.parts.accounts.person_with(SYSTEM, "dave@example.com")


async def test_claims_decide_role_and_tier_anew_each_time(open_site: Open) -> None:
    rules = {
        "roles": [{"claim": "groups", "contains": "admins", "role": "admin"}],
        "tiers": [{"claim": "groups", "contains": "staff", "tier": "premium"}],
    }
    async with open_site(rules) as site:
        browser = site.browser()
        await browser.sign_in("alice")
        user = await only(browser)
        assert (user.role, user.tier) == ("admin", "premium")
        site.provider.control("POST", "accounts", sub="1001", groups=["guests"])
        try:
            other = site.browser()
            await other.sign_in("alice")
            user = await only(other)
            assert (user.role, user.tier) == ("user", "free")
            # The session of before had other rights, so it is over.
            assert await browser.actor() is None
        finally:
            site.provider.control("POST", "accounts", sub="1001", groups=["admins", "staff"])


async def test_a_tier_without_rules_is_kept(open_site: Open) -> None:
    async with open_site() as site:
        browser = site.browser()
        await browser.sign_in()
        async with site.platform.parts.database.transaction() as work:
            user = await work.users.by_subject("lab", "1001")
            assert user is not None
            user.tier = "premium"
        await browser.sign_in()
        assert (await only(browser)).tier == "premium"


async def test_names_are_text_and_nothing_else(open_site: Open) -> None:
    async with open_site() as site:
        browser = site.browser()
        site.provider.fault("id_token", claims={"name": "\u202eevil\x00\n" + "x" * 300})
        await browser.sign_in()
        name = (await only(browser)).name
        assert name.startswith("evil x")
        assert len(name) == 80
        assert name.isprintable()


async def test_an_address_of_userinfo_counts_when_the_token_has_none(open_site: Open) -> None:
    async with open_site({"allowed": {"people": ["alice@example.com"]}}) as site:
        site.provider.fault("missing_email")
        assert (await site.browser().sign_in()).status_code == 303
        assert (await only(site.browser())).email_verified


def test_the_short_settings_of_google() -> None:
    settings = Settings(
        google_client_id=CLIENT_ID, google_client_secret=SecretStr(CLIENT_SECRET), google_domains="a.org, b.org",
        bind_address="0.0.0.0", _env_file=None,
    )  # fmt: skip
    (google,) = settings.providers
    assert settings.identity == "oidc"
    assert (google.id, google.issuer, google.algorithms) == ("google", "https://accounts.google.com", ("RS256",))
    assert google.allowed.domains == ("a.org", "b.org")
    assert not google.allowed.everybody


async def test_somebody_who_is_not_admitted_any_more_loses_what_they_hold(open_site: Open) -> None:
    rules = {"allowed": {"claims": [{"claim": "groups", "contains": "staff"}]}}
    async with open_site(rules) as site:
        browser = site.browser()
        await browser.sign_in("alice")
        actor = await browser.actor()
        assert actor is not None
        made = await site.platform.parts.api_tokens.make(actor, "script", ["read"], None)
        site.provider.control("POST", "accounts", sub="1001", groups=["guests"])
        try:
            await site.browser().sign_in("alice")
            assert await browser.actor() is None
            assert await site.platform.parts.api_tokens.find(made.secret) is None
        finally:
            site.provider.control("POST", "accounts", sub="1001", groups=["admins", "staff"])
