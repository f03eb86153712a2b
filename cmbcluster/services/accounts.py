"""A person's own profile and limits."""

from __future__ import annotations

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.db.database import Database
from cmbcluster.db.models import User
from cmbcluster.domain.actors import Actor, Role, Scope, Tier
from cmbcluster.domain.naming import clean_label
from cmbcluster.domain.tiers import LIMITS, sizes_within, uptimes_within
from cmbcluster.domain.views import LimitsView, PersonView
from cmbcluster.errors import NotFound
from cmbcluster.services.records import note_activity

NAME_LIMIT = 80
NO_SUCH_PERSON = "There is no such person."


class AccountService:
    """What people may see and change of themselves, and what an operator may grant."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def person(self, actor: Actor) -> PersonView:
        """The person as they are kept now."""
        user_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            user = await work.users.by_id(user_id)
        if user is None:
            raise NotFound(NO_SUCH_PERSON, "Sign in again.")
        return _view(user)

    async def rename(self, actor: Actor, name: str) -> PersonView:
        """Change the name that others see; raises InvalidInput (field ``name``)."""
        user_id = actor.require_session()
        clean = clean_label(name, NAME_LIMIT, "Type the name that others should see.")
        async with self._database.transaction() as work:
            user = await work.users.lock(user_id)
            if user is None:
                raise NotFound(NO_SUCH_PERSON, "Sign in again.")
            note_activity(
                work, actor, "profile_changed", await work.now(), owner_id=user_id, detail=f"{user.name} → {clean}"
            )
            user.name = clean
            user.name_chosen = True
            view = _view(user)
        await self._bus.publish(Ring("sessions", ""))
        await self._bus.publish(Ring(f"user:{user_id}", "profile"))
        return view

    async def limits(self, actor: Actor) -> LimitsView:
        """The person's limits and how much of them is used."""
        user_id = actor.require(Scope.READ)
        limits = LIMITS[actor.tier]
        async with self._database.reading() as work:
            running, kept = await work.environments.counts(user_id)
        return LimitsView(actor.tier, limits, running, kept, sizes_within(limits), uptimes_within(limits))

    async def grant_admin(self, actor: Actor, email: str) -> PersonView:
        """Make the one person with this e-mail address an admin; for the operator's terminal.

        Raises NotFound when nobody or more than one person has the address, verified by their provider.
        """
        actor.require_system()
        async with self._database.transaction() as work:
            users = await work.users.by_email(email.strip())
            if len(users) != 1:
                raise NotFound(
                    f"{len(users) or 'No'} people have signed in with {email.strip()} as a verified address.",
                    "Let the person sign in once, then grant again.",
                )
            user = users[0]
            user.role = Role.ADMIN.value
            user.role_granted = True
            note_activity(
                work, actor, "profile_changed", await work.now(), owner_id=user.id, detail="Role is admin now"
            )
            view = _view(user)
        await self._bus.publish(Ring("sessions", ""))
        return view


def _view(user: User) -> PersonView:
    return PersonView(user.id, user.name, user.email, Role(user.role), Tier(user.tier), user.created_at)
