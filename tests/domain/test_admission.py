"""Who may enter, as pure rules: what a provider has not verified opens nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.actors import Role, Tier
from cmbcluster.domain.admission import Entrant, decide, folded, has_claim, is_listed
from cmbcluster.provider_settings import ClaimRule, ProviderSettings


def provider(**more: object) -> ProviderSettings:
    """A provider with what matters here."""
    given: dict[str, object] = {"id": "lab", "name": "Lab", "issuer": "https://id.example.org", "client_id": "c"}
    return ProviderSettings.model_validate({**given, "client_secret": "s", "allowed": "everybody", **more})


def alice(**more: Any) -> Entrant:
    """Somebody with a verified address."""
    return Entrant(**{"subject": "1", "email": "alice@example.com", "email_verified": True, **more})


EVERY_RULE = {
    "allowed": {"domains": ["example.com"], "people": ["alice@example.com"]},
    "roles": [{"claim": "groups", "contains": "admins", "role": "admin"}],
}


@given(
    st.one_of(st.none(), st.text(), st.integers(), st.lists(st.booleans()), st.just("true"), st.just(1), st.just(False))
)
def test_only_the_boolean_true_verifies(verified: object) -> None:
    entrant = alice(email_verified=verified)
    assert entrant.proven_email == ""
    assert not decide(provider(**EVERY_RULE), ["alice@example.com"], entrant).admitted
    assert decide(provider(), ["alice@example.com"], entrant).role is Role.USER


@given(st.text(max_size=40), st.text(max_size=40))
def test_nobody_is_an_admin_by_chance(email: str, listed: str) -> None:
    decision = decide(provider(), [listed], alice(email=email))
    assert decision.admitted
    assert (decision.role is Role.ADMIN) == ("@" in email and folded(email) == folded(listed).removeprefix("@"))


@pytest.mark.parametrize(
    ("value", "listed", "same"),
    [
        ("Alice@Example.COM", "alice@example.com", True),
        ("alice@example.com", " alice@example.com ", True),
        ("example.com", "@example.com", True),
        # What Unicode calls the same letter may be somebody else's address.
        ("alice@example.com", "alIce@example.com".replace("I", "\u0131"), False),
        ("\u212aate@example.com", "kate@example.com", False),
        ("\u017fam@example.com", "sam@example.com", False),
        ("mallory@evil-example.com", "example.com", False),
        ("evil.example.com", "example.com", False),
        ("", "", False),
    ],
)
def test_addresses_are_compared_by_letters_a_to_z(value: str, listed: str, same: bool) -> None:
    assert is_listed(value, [listed]) is same


@pytest.mark.parametrize(
    "email", ["mallory@evil.com@example.com.evil", "alice@sub.example.com", "@", "alice", "alice@"]
)
def test_a_domain_is_what_stands_after_the_last_at(email: str) -> None:
    assert not decide(provider(allowed={"domains": ["example.com"]}), [], alice(email=email)).admitted


@pytest.mark.parametrize(
    ("claims", "name", "value", "fits"),
    [
        ({"groups": ["a", "b"]}, "groups", "b", True),
        ({"groups": "b"}, "groups", "b", True),
        ({"groups": "abc"}, "groups", "b", False),
        ({"groups": ["abc"]}, "groups", "b", False),
        ({"groups": [["b"], {"b": 1}, 5, None]}, "groups", "b", False),
        ({"realm_access": {"roles": ["cmb"]}}, "realm_access.roles", "cmb", True),
        ({"realm_access.roles": ["cmb"]}, "realm_access.roles", "cmb", True),
        ({"realm_access": ["roles"]}, "realm_access.roles", "cmb", False),
        ({"member": True}, "member", "true", True),
        ({"member": False}, "member", "true", False),
        ({"level": 5}, "level", "5", False),
        ({}, "groups", "b", False),
    ],
)
def test_claims(claims: dict[str, Any], name: str, value: str, fits: bool) -> None:
    assert has_claim(claims, ClaimRule(claim=name, contains=value)) is fits


def test_tiers_are_decided_by_the_first_rule_that_fits() -> None:
    tiers = [
        {"claim": "groups", "contains": "guests", "tier": "free"},
        {"claim": "groups", "contains": "staff", "tier": "premium"},
    ]
    with_tiers = provider(tiers=tiers)
    assert decide(with_tiers, [], alice(claims={"groups": ["staff"]})).tier is Tier.PREMIUM
    assert decide(with_tiers, [], alice(claims={"groups": ["staff", "guests"]})).tier is Tier.FREE
    assert decide(with_tiers, [], alice()).tier is Tier.FREE
    assert decide(provider(), [], alice()).tier is None


def test_google_believes_the_organisation_and_not_the_address() -> None:
    google = provider(preset="google", allowed={"domains": ["example.com"]})
    for claims in ({}, {"hd": "other.example"}, {"hd": ["example.com"]}, {"hd": None}):
        assert not decide(google, [], alice(claims=claims)).admitted
    assert decide(google, [], alice(claims={"hd": "Example.com"})).admitted
    assert not decide(google, [], alice(claims={"hd": "example.com"}, email_verified=False)).admitted
