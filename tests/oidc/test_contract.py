"""What every identity of the port must keep, and what a provider's documents must never do."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import SecretStr

from cmbcluster.domain.actors import SYSTEM
from cmbcluster.errors import IdentityUnavailable, NotFound
from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.identity.documents import FORCED_REFETCH_SECONDS, KEEP_SECONDS, STALE_SECONDS, ProviderDocuments
from cmbcluster.identity.id_tokens import Unbelievable, check_claims, checked_claims, read_header
from cmbcluster.identity.oidc import OidcIdentity
from cmbcluster.identity.port import Identity, Ticket
from cmbcluster.provider_settings import ProviderSettings
from cmbcluster.services.sign_ins import SignInService
from cmbcluster.settings import Settings
from tests.platform import Platform

TICKET = Ticket("state", "nonce", "verifier" * 6, "http://localhost:8200/auth/lab/callback")
ISSUER = "https://id.example.org"
LAB = ProviderSettings.model_validate(
    {
        "id": "lab",
        "name": "Lab",
        "issuer": ISSUER,
        "client_id": "cmb",
        "client_secret": SecretStr("s"),
        "allowed": "everybody",
    }
)


@pytest.fixture(params=["development", "oidc"])
async def identity(request: pytest.FixtureRequest) -> AsyncIterator[Identity]:
    """Each adapter in turn."""
    settings = Settings(oidc_providers=(LAB,), _env_file=None)
    opened: Identity = DevelopmentIdentity() if request.param == "development" else OidcIdentity(settings)
    yield opened
    await opened.close()


async def test_strangers_are_not_found(identity: Identity) -> None:
    assert bool(identity.people()) != bool(identity.providers())
    with pytest.raises(NotFound):
        identity.sign_in("mallory")
    with pytest.raises(NotFound):
        await identity.address("nowhere", TICKET)
    with pytest.raises(NotFound):
        await identity.confirm("nowhere", TICKET, {"code": "x"})


class Published:
    """A provider's documents, a clock, and how often each was asked for."""

    def __init__(self) -> None:
        self.at = 0.0
        self.asked: list[str] = []
        self.up = True
        self.keys: list[Any] = []
        self.documents = ProviderDocuments(LAB, self.fetch, lambda: self.at)

    async def fetch(self, url: str) -> Any:
        self.asked.append(url.rpartition("/")[2])
        if not self.up:
            raise IdentityUnavailable("down")
        if url.endswith("openid-configuration"):
            ends = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            return {"issuer": ISSUER, **{end: f"{ISSUER}/{end}" for end in ends}}
        return {"keys": self.keys}


async def test_documents_are_kept_an_hour_and_used_a_day_when_nothing_better_comes() -> None:
    published = Published()
    await published.documents.metadata()
    await published.documents.metadata()
    assert len(published.asked) == 1
    published.at = KEEP_SECONDS + 1
    published.up = False
    await published.documents.metadata()
    assert len(published.asked) == 2
    published.at = STALE_SECONDS + 1
    with pytest.raises(IdentityUnavailable):
        await published.documents.metadata()


async def test_unknown_keys_cause_one_request_a_minute() -> None:
    published = Published()
    for number in range(5):
        assert await published.documents.keys(f"made-up-{number}") == ()
    assert published.asked.count("jwks_uri") == 2
    published.at = FORCED_REFETCH_SECONDS + 1
    published.keys = [RSAKey.generate_key(2048, {"kid": "new"}).as_dict(private=False)]
    assert len(await published.documents.keys("new")) == 1


async def test_only_public_keys_for_signatures_are_keys() -> None:
    published = Published()
    published.keys = [
        OctKey.generate_key(256, {"kid": "shared"}).as_dict(),
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "oct", "k": "c2VjcmV0"},
        "nonsense",
        None,
        {**RSAKey.generate_key(2048, {"kid": "wraps"}).as_dict(private=False), "use": "enc"},
        ECKey.generate_key("P-256", {"kid": "good"}).as_dict(private=False),
    ]
    assert len(await published.documents.keys(None)) == 1
    assert len(await published.documents.keys("good")) == 1
    for key_id in ("shared", "broken", "wraps"):
        assert await published.documents.keys(key_id) == ()


@given(st.one_of(st.text(max_size=200), st.none(), st.binary(max_size=50), st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*")))
def test_no_text_is_a_token_by_chance(token: object) -> None:
    with pytest.raises(Unbelievable):
        read_header(token, ("RS256",))


def test_deep_json_is_no_header() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 40_000).decode()
    with pytest.raises(Unbelievable):
        read_header(f"{deep}.e30.x", ("RS256",))


def test_a_key_of_another_kind_signs_nothing() -> None:
    key, other = ECKey.generate_key("P-256"), RSAKey.generate_key(2048)
    token = jwt.encode({"alg": "ES256"}, {"sub": "1"}, key)
    assert checked_claims(token, "ES256", [other, key]) == {"sub": "1"}
    for algorithm, keys in (("ES256", [other]), ("RS256", [key]), ("RS256", [other]), ("ES256", [])):
        with pytest.raises(Unbelievable):
            checked_claims(token, algorithm, keys)


@pytest.mark.parametrize("subject", ["a\0b", "a\nb", "\ud800", "\u202ea", "x" * 256, " ", 1, None], ids=ascii)
def test_a_subject_that_cannot_be_kept_names_nobody(subject: object) -> None:
    now = time.time()
    claims = {"iss": ISSUER, "aud": "cmb", "exp": now + 60, "iat": now, "nonce": "n", "sub": subject}
    about: dict[str, Any] = {"nonce": "n", "access_token": "", "now": now}
    check_claims({**claims, "sub": "x" * 255}, {"alg": "RS256"}, LAB, **about)
    with pytest.raises(Unbelievable, match="names nobody"):
        check_claims(claims, {"alg": "RS256"}, LAB, **about)


async def test_the_test_people_of_yesterday_are_out_once_a_provider_is_set(platform: Platform) -> None:
    actor = await platform.sign_in("ravi")
    parts = platform.parts
    assert await parts.sign_ins.shut_old_ways(SYSTEM) == 0
    assert actor.session_id is not None
    assert await parts.sessions.alive(actor.session_id) is not None
    settings = parts.settings.model_copy(update={"identity": "oidc", "oidc_providers": (LAB,)})
    service = SignInService(parts.database, OidcIdentity(settings), parts.sessions, settings)
    assert await service.shut_old_ways(SYSTEM) == 1
    assert await parts.sessions.alive(actor.session_id) is None
