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


class Scope(StrEnum):
    """What a personal token may do. A token has those it was made with, and no other."""

    READ = "read"  # see what the person sees
    LAUNCH = "launch"  # launch, change and delete environments, and reach them
    FILES = "files"  # read and change the person's files
    ADMIN = "admin"  # what an admin may do, while the person is one


class ActorKind(StrEnum):
    """How the actor came in."""

    ANONYMOUS = "anonymous"
    PERSON = "person"
    SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """The one on whose behalf a service function runs.

    ``operation_id`` follows one click from the page through services and controller to
    the runtime, in every log line and activity row. ``scopes`` is None for a person who is
    signed in, and what a personal token may do when a token acts for its person.
    """

    kind: ActorKind
    user_id: UUID | None = None
    name: str = ""
    role: Role = Role.USER
    tier: Tier = Tier.FREE
    session_id: UUID | None = None
    address: str = ""
    operation_id: str = ""
    scopes: frozenset[Scope] | None = None
    token_id: UUID | None = None
    token_name: str = ""

    def person(self) -> UUID:
        """The user's id; raises NotSignedIn for anybody who is not a signed-in person."""
        if self.kind is not ActorKind.PERSON or self.user_id is None:
            raise NotSignedIn()
        return self.user_id

    def require(self, *scopes: Scope) -> UUID:
        """The user's id; raises Forbidden for a token that has none of ``scopes``."""
        user_id = self.person()
        if self.scopes is not None and not self.scopes.intersection(scopes):
            raise Forbidden(
                f"This token does not have the scope {' or '.join(scopes)}.",
                "Make one that has it in Settings, under Tokens.",
            )
        return user_id

    def require_session(self) -> UUID:
        """The user's id; raises Forbidden for every token, whatever its scopes."""
        user_id = self.person()
        if self.scopes is not None:
            raise Forbidden("A token cannot do this.", "Sign in with a browser.")
        return user_id

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
        user_id = self.require(Scope.ADMIN)
        if self.role is not Role.ADMIN:
            raise Forbidden("Only an admin may do this.", "Ask an admin of this platform.")
        return user_id


ANONYMOUS = Actor(kind=ActorKind.ANONYMOUS)
SYSTEM = Actor(kind=ActorKind.SYSTEM, name="CMBCluster", role=Role.ADMIN)
