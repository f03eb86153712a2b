"""Rights that ended elsewhere: rules that changed between two starts, and people who have not been back for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cmbcluster.domain.actors import SYSTEM, Actor, Role, Tier
from cmbcluster.identity.oidc import OidcIdentity
from cmbcluster.identity.port import SignedIn
from cmbcluster.provider_settings import ProviderSettings
from cmbcluster.services.people import identity_row
from cmbcluster.services.sign_ins import SignInService
from tests.platform import Platform, open_platform

DAY_SECONDS = 86_400


def provider(allowed: object, provider_id: str = "lab", **more: object) -> ProviderSettings:
    issuer = "https://accounts.google.com" if more.get("preset") == "google" else "https://id.example.org"
    given = {"id": provider_id, "name": provider_id.title(), "issuer": issuer, "client_id": "c", "client_secret": "s"}
    return ProviderSettings.model_validate({**given, "allowed": allowed, **more})


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(tmp_path, identity="oidc", oidc_providers=(provider("everybody"),)) as opened:
        yield opened


def vouched(email: str, provider_id: str = "lab", *, verified: bool = True, role: Role = Role.USER) -> SignedIn:
    return SignedIn(
        provider=provider_id,
        subject=email,
        email=email,
        name=email.partition("@")[0],
        role=role,
        tier=Tier.FREE,
        email_verified=verified,
        rules_role=True,
        rules_tier=False,
    )


async def enter(platform: Platform, identity: SignedIn) -> Actor:
    token = await platform.parts.sessions.sign_in(identity, browser="Firefox", address="192.0.2.1")
    actor = await platform.parts.sessions.find(token)
    assert actor is not None
    return actor


async def start_again(platform: Platform, *providers: ProviderSettings, admins: tuple[str, ...] = ()) -> int:
    """What the next start does with what is kept; how many sessions it ended."""
    settings = platform.parts.settings.model_copy(update={"oidc_providers": providers, "admins": admins})
    service = SignInService(platform.parts.database, OidcIdentity(settings), platform.parts.sessions, settings)
    return await service.shut_old_ways(SYSTEM)


async def is_in(platform: Platform, actor: Actor) -> bool:
    assert actor.session_id is not None
    return await platform.parts.sessions.alive(actor.session_id) is not None


@pytest.mark.parametrize(
    ("allowed", "more", "stays"),
    [
        ("everybody", {}, True),
        ({"domains": ["EXAMPLE.org"]}, {}, True),
        ({"people": ["Alice@example.org"]}, {}, True),
        ({"domains": ["other.example"]}, {}, False),
        ({"people": ["bob@example.org"]}, {}, False),
        ({"people": ["bob@example.org"], "domains": ["example.org"]}, {}, True),
        # A claim is not kept: nobody knows whether she has it.
        ({"people": ["bob@example.org"], "claims": [{"claim": "groups", "contains": "staff"}]}, {}, True),
        # Google's word for her organisation is not kept either, and her address says nothing about it.
        ({"domains": ["other.example"]}, {"preset": "google"}, True),
        ({"people": ["bob@example.org"]}, {"preset": "google"}, False),
    ],
    ids=str,
)
async def test_who_is_on_no_list_any_more_is_out_with_the_next_start(
    platform: Platform, allowed: object, more: dict[str, Any], stays: bool
) -> None:
    alice = await enter(platform, vouched("alice@example.org"))
    made = await platform.parts.api_tokens.make(alice, "laptop", ["read"], None)
    async with platform.bus.subscribe(f"token:{made.view.id}") as rings:
        assert await start_again(platform, provider(allowed, **more)) == (0 if stays else 1)
        assert await is_in(platform, alice) is stays
        assert (await platform.parts.api_tokens.find(made.secret) is not None) is stays
        if not stays:
            assert (await asyncio.wait_for(anext(rings), 1)).about == "ended"
    # Once more changes nothing.
    assert await start_again(platform, provider(allowed, **more)) == 0


async def test_an_address_nobody_verified_is_on_no_list(platform: Platform) -> None:
    alice = await enter(platform, vouched("alice@example.org", verified=False))
    assert await start_again(platform, provider({"domains": ["example.org"]})) == 1
    assert not await is_in(platform, alice)


async def test_a_second_way_in_keeps_everything(platform: Platform) -> None:
    alice = await enter(platform, vouched("alice@example.org"))
    made = await platform.parts.api_tokens.make(alice, "laptop", ["read"], None)
    async with platform.parts.database.transaction() as work:
        user = await work.users.by_id(alice.person())
        assert user is not None
        work.identities.add(identity_row(user, vouched("a@uni.example", "uni"), await work.now()))
    lab = provider({"people": ["bob@example.org"]})
    assert await start_again(platform, lab, provider({"domains": ["uni.example"]}, "uni")) == 0
    assert await is_in(platform, alice)
    # The other one lets her in no more either.
    assert await start_again(platform, lab, provider({"domains": ["elsewhere.example"]}, "uni")) == 1
    assert await platform.parts.api_tokens.find(made.secret) is None


@pytest.mark.parametrize(("second", "keeps"), [("lab", True), ("closed", False)])
async def test_who_is_refused_keeps_tokens_for_a_way_in_that_is_there(
    platform: Platform, second: str, keeps: bool
) -> None:
    alice = await enter(platform, vouched("alice@example.org"))
    made = await platform.parts.api_tokens.make(alice, "laptop", ["read"], None)
    async with platform.parts.database.transaction() as work:
        user = await work.users.by_id(alice.person())
        assert user is not None
        work.identities.add(identity_row(user, vouched("a@uni.example", second), await work.now()))
    # What follows from a refusal at the door.
    await platform.parts.sign_ins._shut_out("lab", "alice@example.org")
    assert not await is_in(platform, alice)
    assert (await platform.parts.api_tokens.find(made.secret) is not None) is keeps


async def test_an_admin_of_the_settings_is_one_as_long_as_they_say_so(platform: Platform) -> None:
    alice = await enter(platform, vouched("alice@example.org", role=Role.ADMIN))
    bob = await enter(platform, vouched("bob@example.org"))
    await platform.parts.accounts.set_role(SYSTEM, bob.person(), Role.ADMIN)
    bob = await enter(platform, vouched("bob@example.org"))
    by_claim = provider("everybody", roles=[{"claim": "groups", "contains": "admins", "role": "admin"}])
    assert await start_again(platform, provider("everybody"), admins=("ALICE@example.org",)) == 0
    assert await start_again(platform, by_claim) == 0
    assert alice.role is bob.role is Role.ADMIN
    assert await start_again(platform, provider("everybody")) == 1
    assert not await is_in(platform, alice)
    assert (await enter(platform, vouched("alice@example.org"))).role is Role.USER
    # What an operator gave stays.
    assert await is_in(platform, bob)
    kinds = [row.kind for row in (await platform.parts.activity.page(await enter(platform, vouched(
        "alice@example.org")))).rows]  # fmt: skip
    assert "rights_changed" in kinds


# ---- tokens of people who do not come back ----


async def test_a_token_rests_until_its_person_signs_in_again(platform: Platform) -> None:
    tokens = platform.parts.api_tokens
    alice = await enter(platform, vouched("alice@example.org"))
    made = await tokens.make(alice, "nightly", ["read"], None)
    platform.advance(30 * DAY_SECONDS)
    assert await tokens.find(made.secret) is not None
    assert not await tokens.rests(made.secret)
    platform.advance(1)
    assert await tokens.find(made.secret) is None
    assert await tokens.rests(made.secret)
    bob = await enter(platform, vouched("bob@example.org"))
    assert bob.user_id != alice.user_id
    assert await tokens.find(made.secret) is None
    again = await enter(platform, vouched("alice@example.org"))
    assert await tokens.find(made.secret) is not None
    # A token that works no more for another reason does not rest.
    await tokens.revoke(again, made.view.id)
    platform.advance(31 * DAY_SECONDS)
    assert not await tokens.rests(made.secret)
    assert not await tokens.rests("cmb_nonsense")


@pytest.mark.parametrize(
    "more",
    [{"identity": "oidc", "sign_in_again_seconds": 0}, {"identity": "development"}],
    ids=["never", "test people"],
)
async def test_nobody_need_come_back(tmp_path: Path, more: dict[str, Any]) -> None:
    async with open_platform(tmp_path, oidc_providers=(provider("everybody"),), **more) as platform:
        made = await platform.parts.api_tokens.make(await platform.sign_in("elena"), "x", ["read"], None)
        platform.advance(400 * DAY_SECONDS)
        assert await platform.parts.api_tokens.find(made.secret) is not None
