"""Who is acting. Every public service function takes an Actor first and checks it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from cmbcluster.errors import Forbidden, NotSignedIn


class Role(StrEnum):
    """What a person may do beyond their own things."""

    USER = "user"
    ADMIN = "admin"


class Tier(StrEnum):
    """Which limits apply to a person."""

    FREE = "free"
    PREMIUM = "premium"


class ActorKind(StrEnum):
    """How the actor came in."""

    ANONYMOUS = "anonymous"
    PERSON = "person"
    SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """The one on whose behalf a service function runs.

    ``operation_id`` follows one click from the page through services and controller to
    the runtime, in every log line and activity row.
    """

    kind: ActorKind
    user_id: UUID | None = None
    name: str = ""
    role: Role = Role.USER
    tier: Tier = Tier.FREE
    session_id: UUID | None = None
    address: str = ""
    operation_id: str = ""

    def person(self) -> UUID:
        """The user's id; raises NotSignedIn for anybody who is not a signed-in person."""
        if self.kind is not ActorKind.PERSON or self.user_id is None:
            raise NotSignedIn()
        return self.user_id

    def require_system(self) -> None:
        """Raise Forbidden unless the platform itself is acting."""
        if self.kind is not ActorKind.SYSTEM:
            raise Forbidden("Only the platform itself may do this.")

    def require_operator(self) -> None:
        """Raise Forbidden unless an admin or the platform's own terminal is acting."""
        if self.kind is not ActorKind.SYSTEM:
            self.require_admin()

    def require_admin(self) -> UUID:
        """The user's id; raises Forbidden unless the person is an admin."""
        user_id = self.person()
        if self.role is not Role.ADMIN:
            raise Forbidden("Only an admin may do this.", "Ask an admin of this platform.")
        return user_id


ANONYMOUS = Actor(kind=ActorKind.ANONYMOUS)
SYSTEM = Actor(kind=ActorKind.SYSTEM, name="CMBCluster", role=Role.ADMIN)
