"""The settings of one OpenID Connect provider: where it is, who may enter, who becomes what.

A provider's ``id`` is written beside every person who came through it, so it must never
change once somebody has signed in. This module must never read the environment.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

GOOGLE_ISSUER = "https://accounts.google.com"
# The names that people of the embedded platform and our own routes already have.
RESERVED = frozenset({"development", "sign-out"})
# Only signatures that a public key checks: whoever knows it must not be able to make one.
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320)]


class _Strict(BaseModel):
    # The values of wrong fields may be secrets, so they are never part of an error's text.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ClaimRule(_Strict):
    """A claim that has a value, or a list that has it in it. Dots lead into objects."""

    claim: Text
    contains: Text


class RoleRule(ClaimRule):
    """Whoever has the claim gets the role."""

    role: Literal["admin"]


class TierRule(ClaimRule):
    """Whoever has the claim gets the tier."""

    tier: Literal["free", "premium"]


class Allowed(_Strict):
    """Who may enter: whoever meets one of these."""

    everybody: bool = False
    domains: tuple[Text, ...] = ()
    people: tuple[Text, ...] = ()
    claims: tuple[ClaimRule, ...] = ()

    @model_validator(mode="after")
    def _somebody(self) -> Allowed:
        if not (self.everybody or self.domains or self.people or self.claims):
            raise ValueError("nobody could enter; name domains, people or claims, or write everybody")
        return self


class ProviderSettings(_Strict):
    """One provider."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    name: Text
    preset: Literal["google"] | None = None
    issuer: str = ""
    client_id: Text
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    scopes: tuple[Text, ...] = ("openid", "email", "profile")
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256")
    allowed: Allowed
    roles: tuple[RoleRule, ...] = ()
    tiers: tuple[TierRule, ...] = ()

    @field_validator("id")
    @classmethod
    def _own_name(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"{value} is a name of ours; choose another one")
        return value

    @field_validator("allowed", mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        return {"everybody": True} if value == "everybody" else value

    @field_validator("algorithms")
    @classmethod
    def _safe_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(SIGNATURES):
            raise ValueError(f"use one or more of {', '.join(SIGNATURES)}")
        return value

    @field_validator("scopes")
    @classmethod
    def _with_openid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return value if "openid" in value else ("openid", *value)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("preset") == "google":
            return {"issuer": GOOGLE_ISSUER, "name": "Google", "algorithms": ("RS256",), **data}
        return data

    @model_validator(mode="after")
    def _complete(self) -> ProviderSettings:
        if not is_safe_url(self.issuer):
            raise ValueError("issuer must be an https address, exactly as the provider writes it")
        if (self.client_secret is None) == (self.client_secret_file is None):
            raise ValueError("give either client_secret or client_secret_file")
        return self

    def secret(self) -> str:
        """The client's secret; raises OSError when its file cannot be read."""
        if self.client_secret_file is not None:
            return self.client_secret_file.read_text(encoding="utf-8").strip()
        return self.client_secret.get_secret_value() if self.client_secret is not None else ""

    def __str__(self) -> str:
        return f"{self.id} ({self.issuer})"


def is_safe_url(url: str) -> bool:
    """Whether a secret may be sent there: https, or plain http on this machine's loopback."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.username is not None or parts.password is not None or not host or parts.fragment:
            return False
        if parts.scheme == "https":
            return True
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def google(client_id: str, client_secret: SecretStr, domains: tuple[str, ...]) -> ProviderSettings:
    """The provider that the three short settings of Google describe."""
    return ProviderSettings(
        id="google",
        name="Google",
        preset="google",
        client_id=client_id,
        client_secret=client_secret,
        allowed=Allowed(everybody=not domains, domains=domains),
    )
