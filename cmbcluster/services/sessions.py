"""Who is signed in. The session's row is the only authority; everything asks it.

The browser holds a signed token that names the row and is renewed while the session lives.
An answer may be reused for ``session_cache_seconds`` and is dropped at once when the bus
says that sessions changed, so signing out works on sockets that are already open.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.db.database import Database
from cmbcluster.db.failures import KeyTaken, retried
from cmbcluster.db.models import Session, User
from cmbcluster.domain.actors import Actor, ActorKind, Role, Tier
from cmbcluster.domain.views import SessionView, StandingView
from cmbcluster.errors import Forbidden, NotFound, NotSignedIn
from cmbcluster.identity.port import SignedIn
from cmbcluster.services.denials import records_denials
from cmbcluster.services.people import find_or_make
from cmbcluster.services.records import note_activity
from cmbcluster.settings import Settings

AUDIENCE = "cmbcluster-session"
TOUCH_EVERY_SECONDS = 60
# Requests that were on their way when the token was renewed still carry the one before.
OVERLAP_SECONDS = 60
CACHE_LIMIT = 10_000
NO_SUCH_SESSION = "There is no such session, or it is not yours."


@dataclass(frozen=True)
class Admission:
    """What a request's token is worth: who comes with it, and a newer token when it is time for one."""

    actor: Actor | None = None
    renewed: str = ""


@dataclass(frozen=True)
class _Token:
    """The claims of a token of ours; times in seconds since the epoch, by the database's clock."""

    session_id: UUID
    serial: int
    issued_at: int
    expires_at: int


@dataclass(frozen=True)
class _Known:
    """What was read of a session that works."""

    actor: Actor
    serial: int
    serial_seen: bool
    last_seen_at: datetime
    now: datetime
    at: float  # monotonic seconds of ``now``

    def moment(self) -> datetime:
        """The database's time now, as far as it can be told without asking."""
        return self.now + timedelta(seconds=time.monotonic() - self.at)


@records_denials
class SessionService:
    """Signing in and out, and finding out who is there. ``keyring`` signs what the browser holds."""

    def __init__(self, database: Database, bus: Bus, settings: Settings, keyring: Keyring) -> None:
        self._database = database
        self._bus = bus
        self._settings = settings
        self._keyring = keyring
        self._answers: dict[UUID, tuple[_Known | None, float]] = {}
        self._changes = 0

    async def sign_in(self, identity: SignedIn, *, browser: str, address: str) -> str:
        """Make a session for an identity a provider vouched for; returns the cookie's token.

        Raises Forbidden for a disabled person.
        """
        try:
            return await self._sign_in(identity, browser, address)
        except KeyTaken:
            # Two tabs of somebody new came back at the same moment; the other one wrote them down.
            return await self._sign_in(identity, browser, address)

    @retried
    async def _sign_in(self, identity: SignedIn, browser: str, address: str) -> str:
        async with self._database.transaction() as work:
            now = await work.now()
            found = await find_or_make(work, identity, now)
            user = found.user
            if user.disabled_at is not None:
                raise Forbidden("This account is disabled.", "Ask an admin of this platform.")
            # Sessions from before have other rights: whoever signed in for them did not earn these.
            ended = await work.sessions.end_all_of(user.id, now) if found.rights_changed else ()
            session = Session(
                user_id=user.id,
                # There is none before it that could be taken for a copy.
                serial_seen=True,
                serial_made_at=now,
                created_at=now,
                last_seen_at=now,
                expires_at=now + timedelta(seconds=self._settings.session_absolute_seconds),
                browser=browser[:120],
                address=address[:64],
            )
            work.sessions.add(session)
            await work.flush()
            note_activity(work, _actor(user, session), "signed_in", now, owner_id=user.id, detail=browser[:120])
        if found.rights_changed:
            self.forget_answers()
            await ring_ended(self._bus, user.id, ended)
        await self._bus.publish(Ring(f"user:{user.id}", "sessions"))
        return self._token(session.id, session.serial, now)

    # ---- who is there ----

    async def find(self, token: str, *, touch: bool = True, opened: bool = False) -> Actor | None:
        """The actor of a token, or None when it opens nothing (any more).

        ``touch`` false: a look that is not activity of the person, such as a page's own
        background task, so that an open tab alone does not keep a session alive.
        ``opened``: the token came with a connection that was admitted when it was opened, so
        only the session has to live on; the token's own minutes may be over.
        """
        presented = self._presented(token)
        if presented is None:
            return None
        known = await self._known(presented.session_id, touch=touch)
        if known is None or (not opened and presented.expires_at <= known.moment().timestamp()):
            return None
        return known.actor

    async def admit(self, token: str) -> Admission:
        """Look at the token of a new request or connection, and renew it when it is time.

        An expired token is renewed as long as its session lives and it is the newest one. An
        older one that comes back expired was copied: its session ends.
        """
        presented = self._presented(token)
        if presented is None:
            return Admission()
        known = await self._known(presented.session_id, touch=False)
        if known is None:
            return Admission()
        now = known.moment().timestamp()
        expired = presented.expires_at <= now
        newest = presented.serial >= known.serial
        if newest and not known.serial_seen:
            await self._saw(presented)
        if not expired and not (newest and now - presented.issued_at >= self._settings.session_renewal_seconds / 2):
            return Admission(known.actor)
        return await self._renew(presented, known.actor, expired=expired)

    async def alive(self, session_id: UUID, *, touch: bool = True) -> Actor | None:
        """The actor of a session known by its id, or None when it has ended."""
        known = await self._look(session_id, touch=touch)
        return known.actor if known is not None else None

    async def saw(self, session_id: UUID) -> None:
        """Note that the person of a session did something; written at most once a minute."""
        await self._known(session_id, touch=True)

    def forget_answers(self) -> None:
        """Drop every reused answer; called when the bus says sessions changed."""
        self._changes += 1
        self._answers.clear()

    async def end_all_of(self, actor: Actor, user_id: UUID, token_ids: Iterable[UUID] = ()) -> int:
        """End every session of somebody whom the rules do not admit any more; returns how many.

        ``token_ids`` are those of their tokens that were just revoked: whoever follows something with one hears it.
        """
        actor.require_system()
        async with self._database.transaction() as work:
            ended = await work.sessions.end_all_of(user_id, await work.now())
        self.forget_answers()
        await ring_ended(self._bus, user_id, ended, token_ids)
        return len(ended)

    # ---- what a person does with their sessions ----

    async def stay(self, actor: Actor) -> StandingView:
        """Note that the person is there; returns when the session would end by itself."""
        actor.require_session()
        if actor.session_id is None:
            raise NotSignedIn()
        async with self._database.transaction() as work:
            now = await work.now()
            found = await work.sessions.by_id(actor.session_id)
            if found is None or not self._works(*found, now):
                raise NotSignedIn("Your session has ended.")
            await work.sessions.touch(actor.session_id, now)
        self._answers.pop(actor.session_id, None)
        return self._standing(found[0], now, now)

    async def standing(self, actor: Actor) -> StandingView:
        """When the present session ends by itself. Asking is no activity."""
        actor.require_session()
        async with self._database.reading() as work:
            now = await work.now()
            found = await work.sessions.by_id(actor.session_id) if actor.session_id is not None else None
        if found is None:
            raise NotSignedIn("Your session has ended.")
        return self._standing(found[0], found[0].last_seen_at, now)

    async def mine(self, actor: Actor) -> tuple[SessionView, ...]:
        """The person's sessions that still work, the present one first."""
        user_id = actor.require_session()
        async with self._database.reading() as work:
            now = await work.now()
            rows = await work.sessions.alive_of(user_id, now, self._idle_since(now))
        views = [_view(row, row.id == actor.session_id) for row in rows]
        return tuple(sorted(views, key=lambda view: not view.current))

    async def end(self, actor: Actor, session_id: UUID) -> None:
        """End one of the person's sessions; raises NotFound for anybody else's."""
        user_id = actor.require_session()
        async with self._database.transaction() as work:
            found = await work.sessions.by_id(session_id)
            if found is None or found[0].user_id != user_id:
                raise NotFound(NO_SUCH_SESSION, "Reload the page.")
            now = await work.now()
            await work.sessions.end(session_id, now)
            kind = "signed_out" if session_id == actor.session_id else "session_ended"
            note_activity(work, actor, kind, now, owner_id=user_id, detail=found[0].browser)
        self.forget_answers()
        await ring_ended(self._bus, user_id, (session_id,))

    async def sign_out(self, actor: Actor) -> None:
        """End the present session."""
        actor.require_session()
        if actor.session_id is not None:
            await self.end(actor, actor.session_id)

    async def end_others(self, actor: Actor) -> int:
        """End all of the person's sessions but the present one; returns how many."""
        others = [view.id for view in await self.mine(actor) if not view.current]
        for session_id in others:
            await self.end(actor, session_id)
        return len(others)

    # ---- how ----

    async def _known(self, session_id: UUID, *, touch: bool) -> _Known | None:
        kept = self._answers.get(session_id)
        if kept is not None and kept[1] > time.monotonic():
            known = kept[0]
            if known is None or not (touch and self._is_due(known.last_seen_at, known.moment())):
                return known
        changes = self._changes
        known = await self._look(session_id, touch=touch)
        if changes != self._changes:
            # What was read may be older than the change that came meanwhile.
            return known
        if len(self._answers) >= CACHE_LIMIT:
            self._answers.clear()
        self._answers[session_id] = (known, time.monotonic() + self._settings.session_cache_seconds)
        return known

    async def _look(self, session_id: UUID, *, touch: bool) -> _Known | None:
        async with self._database.reading() as work:
            found = await work.sessions.by_id(session_id)
            now = await work.now()
        at = time.monotonic()
        if found is None or not self._works(*found, now):
            return None
        session, user = found
        seen_at = session.last_seen_at
        if touch and self._is_due(seen_at, now):
            seen_at = now
            async with self._database.transaction() as work:
                await work.sessions.touch(session.id, now)
        return _Known(_actor(user, session), session.serial, session.serial_seen, seen_at, now, at)

    async def _saw(self, presented: _Token) -> None:
        async with self._database.transaction() as work:
            await work.sessions.saw_serial(presented.session_id, presented.serial)
        self._answers.pop(presented.session_id, None)

    async def _renew(self, presented: _Token, actor: Actor, *, expired: bool) -> Admission:
        """A newer token for the newest one or the one just before it; a copied one ends its session."""
        self._answers.pop(presented.session_id, None)
        async with self._database.transaction() as work:
            now = await work.now()
            found = await work.sessions.by_id(presented.session_id)
            if found is None or not self._works(*found, now):
                return Admission()
            session = found[0]
            serial = session.serial
            if presented.serial == serial:
                await work.sessions.next_serial(session.id, serial, now)
                return Admission(actor, self._token(session.id, serial + 1, now))
            overlaps = (now - session.serial_made_at).total_seconds() <= OVERLAP_SECONDS
            if presented.serial == serial - 1 and (overlaps or not session.serial_seen):
                # The answer that carried the newest one has not reached the browser, or not yet.
                return Admission(actor, self._token(session.id, serial, now))
            if not expired:
                return Admission(actor)
            await work.sessions.end(session.id, now)
            note_activity(work, actor, "session_copied", now, owner_id=session.user_id, detail=session.browser)
        self.forget_answers()
        await ring_ended(self._bus, session.user_id, (session.id,))
        return Admission()

    def _token(self, session_id: UUID, serial: int, now: datetime) -> str:
        issued_at = int(now.timestamp())
        expires_at = issued_at + self._settings.session_renewal_seconds
        claims = {"aud": AUDIENCE, "sid": str(session_id), "ser": serial, "iat": issued_at, "exp": expires_at}
        return self._keyring.sign(claims)

    def _presented(self, token: str) -> _Token | None:
        claims: dict[str, Any] | None = self._keyring.verified(token, AUDIENCE)
        if claims is None:
            return None
        try:
            return _Token(UUID(claims["sid"]), int(claims["ser"]), int(claims["iat"]), int(claims["exp"]))
        except (KeyError, ValueError, TypeError):
            return None

    def _works(self, session: Session, user: User, now: datetime) -> bool:
        return (
            session.ended_at is None
            and session.expires_at > now
            and session.last_seen_at > self._idle_since(now)
            and user.disabled_at is None
        )

    def _is_due(self, last_seen_at: datetime, now: datetime) -> bool:
        return (now - last_seen_at).total_seconds() > TOUCH_EVERY_SECONDS

    def _idle_since(self, now: datetime) -> datetime:
        return now - timedelta(seconds=self._settings.session_idle_seconds)

    def _standing(self, session: Session, last_seen_at: datetime, now: datetime) -> StandingView:
        idle_ends_at = last_seen_at + timedelta(seconds=self._settings.session_idle_seconds)
        return StandingView(min(idle_ends_at, session.expires_at), session.expires_at, now)


async def ring_ended(bus: Bus, user_id: UUID, session_ids: Iterable[UUID], token_ids: Iterable[UUID] = ()) -> None:
    """Tell everybody who may hold an answer about these sessions and tokens that they have ended."""
    await bus.publish(Ring("sessions", str(user_id)))
    for session_id in session_ids:
        await bus.publish(Ring(f"session:{session_id}", "ended"))
    for token_id in token_ids:
        await bus.publish(Ring(f"token:{token_id}", "ended"))
    await bus.publish(Ring(f"user:{user_id}", "sessions"))


def _actor(user: User, session: Session) -> Actor:
    return Actor(
        kind=ActorKind.PERSON,
        user_id=user.id,
        name=user.name,
        role=Role(user.role),
        tier=Tier(user.tier),
        session_id=session.id,
        address=session.address,
    )


def _view(row: Session, current: bool) -> SessionView:
    return SessionView(row.id, row.created_at, row.last_seen_at, row.expires_at, row.browser, row.address, current)
