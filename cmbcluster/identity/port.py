"""The contract of an identity provider.

It says who somebody is, never what they may do with an object: that is the services' part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cmbcluster.domain.actors import Role, Tier


@dataclass(frozen=True)
class Person:
    """Somebody who can be chosen on the sign-in page."""

    id: str
    name: str
    note: str


@dataclass(frozen=True)
class SignedIn:
    """What a provider vouches for. (provider, subject) is the identity."""

    provider: str
    subject: str
    email: str
    name: str
    role: Role
    tier: Tier


class Identity(Protocol):
    """Offers people and confirms one."""

    def people(self) -> tuple[Person, ...]:
        """Who can be chosen."""

    def sign_in(self, person_id: str) -> SignedIn:
        """The identity of the one chosen; raises NotFound for anybody else."""
