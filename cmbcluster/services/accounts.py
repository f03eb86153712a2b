"""A person's own profile and limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.db.database import Database, Work
from cmbcluster.db.models import User
from cmbcluster.domain.actors import Actor, Role, Scope, Tier
from cmbcluster.domain.naming import clean_label
from cmbcluster.domain.tiers import LIMITS, sizes_within, uptimes_within
from cmbcluster.domain.views import LimitsView, PersonView
from cmbcluster.errors import Conflict, NotFound
from cmbcluster.services.denials import records_denials
from cmbcluster.services.records import note_activity
from cmbcluster.services.sessions import ring_ended

NAME_LIMIT = 80
NO_SUCH_PERSON = "There is no such person."


@records_denials
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

    async def person_with(self, actor: Actor, words: str) -> PersonView:
        """The person an operator means at the terminal.

        ``words``: a verified e-mail address, however it is written, that one person has; or
        ``provider:sub``, which is always one person. Raises NotFound for anything else.
        """
        actor.require_system()
        words = words.strip()
        provider, _, subject = words.partition(":")
        async with self._database.reading() as work:
            linked = await work.identities.person(provider, subject) if subject else None
            users = (linked[1],) if linked is not None else await work.users.by_email(words)
            known = [(user.provider, user.subject) for user in users]
        if len(users) == 1:
            return _view(users[0])
        if known:
            named = ", ".join(f"{provider}:{subject}" for provider, subject in known)
            raise NotFound(f"{len(known)} people have the verified address {words}.", f"Name one of them: {named}.")
        raise NotFound(
            f"No people have signed in with {words} as a verified address.",
            "Let the person sign in once, or name them as provider:sub; the log has both.",
        )

    async def set_role(self, actor: Actor, user_id: UUID, role: Role) -> PersonView:
        """Give a role, which no rule of a provider takes away. The person signs in anew with it.

        Raises Conflict for one's own account and for the last admin.
        """

        async def change(work: Work, user: User) -> str:
            if user.role == Role.ADMIN and role is not Role.ADMIN:
                await _check_not_last_admin(work, user)
            # The operator's word stands, whatever a provider's rules say at the next sign-in.
            user.role_granted = True
            if user.role == role.value:
                return ""
            user.role = role.value
            return f"Role is {role} now"

        return await self._on_behalf(actor, user_id, "rights_changed", change, ends_sessions=True)

    async def set_tier(self, actor: Actor, user_id: UUID, tier: Tier) -> PersonView:
        """Give a tier. What runs goes on; the next launch has the new limits."""

        async def change(_work: Work, user: User) -> str:
            if user.tier == tier.value:
                return ""
            user.tier = tier.value
            return f"Tier is {tier} now"

        return await self._on_behalf(actor, user_id, "rights_changed", change, ends_sessions=False)

    async def disable(self, actor: Actor, user_id: UUID) -> PersonView:
        """Shut somebody out: every session ends at once, and none begins. What runs goes on to its deadline.

        Raises Conflict for one's own account and for the last admin.
        """

        async def change(work: Work, user: User) -> str:
            if user.disabled_at is not None:
                return ""
            await _check_not_last_admin(work, user)
            user.disabled_at = await work.now()
            return "Disabled"

        return await self._on_behalf(actor, user_id, "account_disabled", change, ends_sessions=True, ends_tokens=True)

    async def sign_out(self, actor: Actor, user_id: UUID) -> PersonView:
        """End every session of somebody, who may sign in again."""

        async def change(_work: Work, _user: User) -> str:
            return "Signed out everywhere"

        return await self._on_behalf(actor, user_id, "sessions_ended", change, ends_sessions=True)

    async def enable(self, actor: Actor, user_id: UUID) -> PersonView:
        """Let somebody in again."""

        async def change(_work: Work, user: User) -> str:
            if user.disabled_at is None:
                return ""
            user.disabled_at = None
            return "Enabled"

        return await self._on_behalf(actor, user_id, "account_enabled", change, ends_sessions=False)

    async def _on_behalf(
        self, actor: Actor, user_id: UUID, kind: str, change: _Change, *, ends_sessions: bool, ends_tokens: bool = False
    ) -> PersonView:
        """Change somebody's account for them, with the entry that tells them so.

        ``ends_tokens``: none of their tokens opens anything after the change.
        """
        actor.require_operator()
        if actor.user_id == user_id:
            raise Conflict("This is your own account.", "Ask another admin.")
        ended: tuple[UUID, ...] = ()
        token_ids: tuple[UUID, ...] = ()
        async with self._database.transaction() as work:
            # Two admins who take each other's role at the same moment would leave none.
            await work.take_turn("rights")
            user = await work.users.lock(user_id)
            if user is None:
                raise NotFound(NO_SUCH_PERSON, "Look for them again.")
            now = await work.now()
            detail = await change(work, user)
            if detail:
                note_activity(work, actor, kind, now, owner_id=user.id, detail=detail)
                if ends_sessions:
                    ended = await work.sessions.end_all_of(user.id, now)
                if ends_tokens:
                    token_ids = tuple(row.id for row in await work.api_tokens.of(user.id))
            view = _view(user)
        await ring_ended(self._bus, user_id, ended, token_ids)
        await self._bus.publish(Ring(f"user:{user_id}", "profile"))
        return view


# Changes the locked row; returns what the owner is told, or nothing when it was so already.
_Change = Callable[[Work, User], Awaitable[str]]


async def _check_not_last_admin(work: Work, user: User) -> None:
    if user.role == Role.ADMIN and await work.users.admins() <= 1:
        raise Conflict("This is the last admin.", "Make somebody else an admin first.")


def _view(user: User) -> PersonView:
    return PersonView(user.id, user.name, user.email, Role(user.role), Tier(user.tier), user.created_at)
