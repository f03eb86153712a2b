"""From what a provider vouches for to the person kept here.

(provider, subject) finds the person and nothing else does: an e-mail address may change,
be given to somebody else, or be claimed by anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cmbcluster.db.database import Work
from cmbcluster.db.models import LinkedIdentity, User
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.identity.port import SignedIn
from cmbcluster.services.records import note_activity


@dataclass(frozen=True)
class Found:
    """``rights_changed``: role or tier are not what they were, so reused answers are wrong."""

    user: User
    rights_changed: bool = False


async def find_or_make(work: Work, identity: SignedIn, now: datetime) -> Found:
    """The person of an identity, kept up to date with it; somebody new is written down."""
    found = await work.identities.person(identity.provider, identity.subject, lock=True)
    if found is None:
        return Found(await _make(work, identity, now))
    linked, user = found
    linked.email = identity.email
    if (user.provider, user.subject) == (identity.provider, identity.subject):
        # Of several identities the first one names the person, or each sign-in would rename them.
        user.email = identity.email
        user.email_verified = identity.email_verified
        if not user.name_chosen:
            user.name = identity.name
    return Found(user, _apply_rules(work, user, identity, now))


async def _make(work: Work, identity: SignedIn, now: datetime) -> User:
    user = User(
        provider=identity.provider,
        subject=identity.subject,
        email=identity.email,
        email_verified=identity.email_verified,
        name=identity.name,
        role=identity.role.value,
        tier=identity.tier.value,
        created_at=now,
    )
    work.users.add(user)
    await work.flush()
    work.identities.add(identity_row(user, identity, now))
    await work.flush()
    return user


def identity_row(user: User, identity: SignedIn, now: datetime) -> LinkedIdentity:
    """The identity as one of this person's."""
    return LinkedIdentity(
        user_id=user.id, provider=identity.provider, subject=identity.subject, email=identity.email, created_at=now
    )


def _apply_rules(work: Work, user: User, identity: SignedIn, now: datetime) -> bool:
    """Let the provider's rules decide role and tier anew, where they do. Says whether one changed."""
    said = []
    # A role that an operator gave is theirs to take; every other one lasts as long as its reason.
    if identity.rules_role and not user.role_granted and user.role != identity.role.value:
        user.role = identity.role.value
        said.append(f"Role is {user.role} now")
    if identity.rules_tier and user.tier != identity.tier.value:
        user.tier = identity.tier.value
        said.append(f"Tier is {user.tier} now")
    for each in said:
        detail = f"{each}, by the rules for {identity.provider}"
        note_activity(work, SYSTEM, "profile_changed", now, owner_id=user.id, detail=detail)
    return bool(said)
