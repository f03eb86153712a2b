"""The contract of an identity provider.

It says who somebody is, never what they may do with an object: that is the services' part.
People are either chosen on the page (development) or confirmed by somebody else, whom the
browser is sent to and comes back from (OpenID Connect).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cmbcluster.domain.actors import Role, Tier
from cmbcluster.domain.admission import Entrant

# The provider of test people, whose name no other may have.
DEVELOPMENT = "development"


@dataclass(frozen=True)
class Person:
    """Somebody who can be chosen on the sign-in page."""

    id: str
    name: str
    note: str


@dataclass(frozen=True)
class Provider:
    """Somebody who can confirm people. ``id`` is part of the address they come back to."""

    id: str
    name: str


@dataclass(frozen=True)
class Ticket:
    """What one sign-in and its answer must agree in. All of it is secret until it is used."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


@dataclass(frozen=True)
class SignedIn:
    """What a provider vouches for. (provider, subject) is the identity.

    ``role`` and ``tier`` are those of somebody new. ``rules_role`` and ``rules_tier``: the
    provider's rules decide them anew at every sign-in.
    """

    provider: str
    subject: str
    email: str
    name: str
    role: Role
    tier: Tier
    email_verified: bool = False
    rules_role: bool = False
    rules_tier: bool = False


class Identity(Protocol):
    """Offers people or providers, and confirms one person."""

    def people(self) -> tuple[Person, ...]:
        """Who can be chosen."""

    def sign_in(self, person_id: str, /) -> SignedIn:
        """The identity of the one chosen; raises NotFound for anybody else."""

    def providers(self) -> tuple[Provider, ...]:
        """Who can be asked."""

    async def address(self, provider_id: str, ticket: Ticket, /) -> str:
        """Where to send the browser; raises NotFound or IdentityUnavailable."""

    async def confirm(self, provider_id: str, ticket: Ticket, answer: Mapping[str, str], /) -> Entrant:
        """Who came back, from the query of the address they came back to.

        Raises NotFound, IdentityUnavailable when the provider does not answer, and
        SignInFailed when what it answers cannot be believed.
        """

    async def close(self) -> None:
        """Close connections; it is not used afterwards."""
