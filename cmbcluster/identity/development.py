"""Test people for a laptop. Anybody who can reach the page is let in as any of them.

The settings refuse this provider unless the platform listens on loopback alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from cmbcluster.domain.actors import Role, Tier
from cmbcluster.domain.admission import Entrant
from cmbcluster.errors import NotFound
from cmbcluster.identity.port import DEVELOPMENT, Person, Provider, SignedIn, Ticket

NO_PROVIDER = ("There is no such way to sign in.", "Choose one on the front page.")
_PEOPLE: dict[str, tuple[str, str, Role, Tier]] = {
    "ada": ("Ada Lovell", "Researcher, free tier", Role.USER, Tier.FREE),
    "elena": ("Elena Marchetti", "Researcher, premium tier", Role.USER, Tier.PREMIUM),
    "ravi": ("Ravi Nair", "Admin, premium tier", Role.ADMIN, Tier.PREMIUM),
}


class DevelopmentIdentity:
    """The provider of the embedded platform."""

    def people(self) -> tuple[Person, ...]:
        """The test people, in the order of the sign-in page."""
        return tuple(Person(key, name, note) for key, (name, note, _, _) in _PEOPLE.items())

    def sign_in(self, person_id: str) -> SignedIn:
        """The test person; raises NotFound for an unknown one."""
        if person_id not in _PEOPLE:
            raise NotFound("There is no such person.", "Choose one of the people on the sign-in page.")
        name, _, role, tier = _PEOPLE[person_id]
        return SignedIn(DEVELOPMENT, person_id, f"{person_id}@example.org", name, role, tier, email_verified=True)

    def providers(self) -> tuple[Provider, ...]:
        """Nobody is asked: the page offers the people themselves."""
        return ()

    async def address(self, _provider_id: str, _ticket: Ticket, /) -> str:
        """There is no provider to go to."""
        raise NotFound(*NO_PROVIDER)

    async def confirm(self, _provider_id: str, _ticket: Ticket, _answer: Mapping[str, str], /) -> Entrant:
        """There is no provider to come back from."""
        raise NotFound(*NO_PROVIDER)

    async def close(self) -> None:
        """Nothing is open."""
