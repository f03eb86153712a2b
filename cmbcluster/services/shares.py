"""Sharing an environment with another person, who may open it in a browser and nothing else.

The owner names the person by their verified e-mail address, or by their name as a provider
gave it. A name that somebody gave themselves finds nobody, so that nobody can wait under
another's name for what is not meant for them.

Sharing cannot help telling the owner whether it found the person: an answer such as "if this
person has an account" would hide a mistyped address until the wrong one reads the owner's
work, and the list of guests would tell anyway. So the answer is plain, and what it gives away
is bounded: only a whole address or name is looked for; an address that nobody has, one that is
not verified, a name somebody chose, and a disabled account get the same words; and each
person may try 30 times within an hour. It must never tell more of a guest than their name.
"""

from __future__ import annotations

from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.db.database import Database, Work
from cmbcluster.db.failures import KeyTaken, retried
from cmbcluster.db.models import Environment, Share, User
from cmbcluster.domain.actors import Actor, Scope
from cmbcluster.domain.lifecycle import Desired
from cmbcluster.domain.views import GuestView, SharedView
from cmbcluster.errors import Conflict, InvalidInput, NotFound, QuotaExceeded
from cmbcluster.services.denials import records_denials
from cmbcluster.services.environments import NOT_YOURS
from cmbcluster.services.rates import Limited, RateService
from cmbcluster.services.records import note_between

MOST_GUESTS = 20
MOST_SHOWN = 100
WORDS_LIMIT = 320
NOBODY = (
    "Nobody was found under that address or name.",
    "Check it, or ask the person to sign in here once with a verified address.",
)
NO_SUCH_SHARE = ("It is not shared with this person.", "Reload the page.")


@records_denials
class ShareService:
    """Sharing, withdrawing, and who may open what."""

    def __init__(self, database: Database, bus: Bus, rates: RateService) -> None:
        self._database = database
        self._bus = bus
        self._rates = rates

    async def share(self, actor: Actor, environment_id: UUID, person: str) -> GuestView:
        """Let another person open one's environment.

        Raises NotFound for a missing and foreign environment, InvalidInput (field ``person``)
        when nobody is found, when it is oneself or somebody who can open it already, and
        QuotaExceeded at the most guests.
        """
        owner_id = actor.require_session()
        await self._rates.check(actor, Limited.SHARE)
        wanted = " ".join(person.split())
        if not wanted or len(wanted) > WORDS_LIMIT:
            raise InvalidInput("person", "Somebody to share with is needed.", "Type their e-mail address or name.")
        try:
            row, view = await self._share(actor, owner_id, environment_id, wanted)
        except KeyTaken as clash:
            raise InvalidInput("person", "This person can open it already.", "There is nothing to do.") from clash
        await self._ring(row, view.id)
        return view

    @retried
    async def _share(
        self, actor: Actor, owner_id: UUID, environment_id: UUID, wanted: str
    ) -> tuple[Environment, GuestView]:
        async with self._database.transaction() as work:
            await work.users.lock(owner_id)
            row = await _own(work, environment_id, owner_id)
            if row.desired == Desired.DELETED:
                raise Conflict("It is being deleted.", "Share another one.")
            guest = await _sought(work, wanted)
            if guest.id == owner_id:
                raise InvalidInput("person", "This is you.", "Type somebody else's address or name.")
            if await work.shares.count(row.id) >= MOST_GUESTS:
                raise QuotaExceeded(f"It is shared with {MOST_GUESTS} people.", "Withdraw it from one of them.")
            now = await work.now()
            work.shares.add(Share(environment_id=row.id, user_id=guest.id, created_at=now))
            await work.flush()
            note_between(work, actor, "shared", now, guest_id=guest.id, environment=row, detail=f"With {guest.name}")
            return row, GuestView(guest.id, guest.name, now)

    async def withdraw(self, actor: Actor, environment_id: UUID, user_id: UUID) -> None:
        """Stop sharing with one person, at once and everywhere; NotFound when it was not shared."""
        owner_id = actor.require_session()
        async with self._database.transaction() as work:
            await work.users.lock(owner_id)
            row = await _own(work, environment_id, owner_id)
            guest = await work.users.by_id(user_id)
            if guest is None or not await work.shares.remove(row.id, user_id):
                raise NotFound(*NO_SUCH_SHARE)
            now = await work.now()
            note_between(work, actor, "unshared", now, guest_id=user_id, environment=row, detail=f"With {guest.name}")
        await self._ring(row, user_id)

    async def of_environment(self, actor: Actor, environment_id: UUID) -> tuple[GuestView, ...]:
        """With whom one's environment is shared, the first one first."""
        owner_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            row = await _own(work, environment_id, owner_id)
            found = await work.shares.guests(row.id)
        return tuple(GuestView(guest.id, guest.name, share.created_at) for share, guest in found)

    async def with_me(self, actor: Actor) -> tuple[SharedView, ...]:
        """What others share with the person, the newest first."""
        user_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            found = await work.shares.opened_by(user_id, MOST_SHOWN)
            names = await work.applications.names()
        views = []
        for share, row, owner in found:
            application, icon = names.get(row.application_id, (row.application_id, "custom"))
            views.append(SharedView(row.id, row.name, application, icon, owner.name, share.created_at))
        return tuple(views)

    async def _ring(self, row: Environment, guest_id: UUID) -> None:
        await self._bus.publish(Ring("gate", str(row.id)))
        for user_id in (row.owner_id, guest_id):
            await self._bus.publish(Ring(f"user:{user_id}", "shares"))


async def _own(work: Work, environment_id: UUID, owner_id: UUID) -> Environment:
    row = await work.environments.owned(environment_id, owner_id)
    if row is None:
        raise NotFound(*NOT_YOURS)
    return row


async def _sought(work: Work, wanted: str) -> User:
    """The one person with this verified address or this name."""
    if not wanted.isprintable():
        raise InvalidInput("person", *NOBODY)
    found = await (work.users.verified(wanted) if "@" in wanted else work.users.called(wanted))
    if not found:
        raise InvalidInput("person", *NOBODY)
    if len(found) > 1:
        other = "name" if "@" in wanted else "e-mail address"
        raise InvalidInput("person", "More than one account goes by that.", f"Type the person's {other}.")
    return found[0]
