"""Who is signed in. The session's row is the only authority; everything asks it.

An answer may be reused for ``session_cache_seconds`` and is dropped at once when the bus
says that sessions changed, so signing out works on sockets that are already open.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.db.database import Database, Work
from cmbcluster.db.models import Session, User
from cmbcluster.domain.actors import Actor, ActorKind, Role, Tier
from cmbcluster.domain.views import SessionView
from cmbcluster.errors import Forbidden, NotFound
from cmbcluster.identity.port import SignedIn
from cmbcluster.services.records import note_activity
from cmbcluster.services.tokens import new_token, sha256_hex
from cmbcluster.settings import Settings

TOUCH_EVERY_SECONDS = 60
CACHE_LIMIT = 10_000
NO_SUCH_SESSION = "There is no such session, or it is not yours."


@dataclass(frozen=True)
class _Answer:
    actor: Actor | None
    until: float  # monotonic seconds


class SessionService:
    """Signing in and out, and finding out who is there."""

    def __init__(self, database: Database, bus: Bus, settings: Settings) -> None:
        self._database = database
        self._bus = bus
        self._settings = settings
        self._answers: dict[str, _Answer] = {}

    async def sign_in(self, identity: SignedIn, *, browser: str, address: str) -> str:
        """Make a session for an identity a provider vouched for; returns the cookie's token.

        Raises Forbidden for a disabled person.
        """
        token = new_token()
        async with self._database.transaction() as work:
            now = await work.now()
            user = await self._person(work, identity, now)
            if user.disabled_at is not None:
                raise Forbidden("This account is disabled.", "Ask an admin of this platform.")
            session = Session(
                user_id=user.id,
                token_prefix=token[:8],
                token_sha256=sha256_hex(token),
                created_at=now,
                last_seen_at=now,
                expires_at=now + timedelta(seconds=self._settings.session_absolute_seconds),
                browser=browser[:120],
                address=address[:64],
            )
            work.sessions.add(session)
            await work.flush()
            note_activity(work, _actor(user, session), "signed_in", now, owner_id=user.id, detail=browser[:120])
        await self._bus.publish(Ring(f"user:{user.id}", "sessions"))
        return token

    async def find(self, token: str, *, touch: bool = True) -> Actor | None:
        """The actor of a token, or None when it opens nothing (any more).

        ``touch`` false: a look that is not activity of the person, such as a page's own
        background task, so that an open tab alone does not keep a session alive.
        """
        if not token or len(token) > 200:
            return None
        key = sha256_hex(token)
        known = self._answers.get(key)
        if known is not None and known.until > time.monotonic():
            return known.actor
        async with self._database.reading() as work:
            found = await work.sessions.by_hash(key)
            now = await work.now()
        works = found is not None and self._works(*found, now)
        actor = _actor(found[1], found[0]) if found is not None and works else None
        if found is not None and works and touch:
            await self._touch(found[0], now)
        if len(self._answers) >= CACHE_LIMIT:
            self._answers.clear()
        self._answers[key] = _Answer(actor, time.monotonic() + self._settings.session_cache_seconds)
        return actor

    async def alive(self, session_id: UUID, *, touch: bool = True) -> Actor | None:
        """The actor of a session known by its id, or None when it has ended."""
        async with self._database.reading() as work:
            found = await work.sessions.by_id(session_id)
            now = await work.now()
        if found is None or not self._works(*found, now):
            return None
        if touch:
            await self._touch(found[0], now)
        return _actor(found[1], found[0])

    def forget_answers(self) -> None:
        """Drop every reused answer; called when the bus says sessions changed."""
        self._answers.clear()

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
        await self._ended(user_id, session_id)

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

    async def _person(self, work: Work, identity: SignedIn, now: datetime) -> User:
        user = await work.users.by_subject(identity.provider, identity.subject)
        if user is None:
            user = User(
                provider=identity.provider,
                subject=identity.subject,
                email=identity.email,
                name=identity.name,
                role=identity.role.value,
                tier=identity.tier.value,
                created_at=now,
            )
            work.users.add(user)
            await work.flush()
        return user

    async def _touch(self, session: Session, now: datetime) -> None:
        if (now - session.last_seen_at).total_seconds() > TOUCH_EVERY_SECONDS:
            async with self._database.transaction() as work:
                await work.sessions.touch(session.id, now)

    def _works(self, session: Session, user: User, now: datetime) -> bool:
        return (
            session.ended_at is None
            and session.expires_at > now
            and session.last_seen_at > self._idle_since(now)
            and user.disabled_at is None
        )

    def _idle_since(self, now: datetime) -> datetime:
        return now - timedelta(seconds=self._settings.session_idle_seconds)

    async def _ended(self, user_id: UUID, session_id: UUID) -> None:
        self.forget_answers()
        await self._bus.publish(Ring("sessions", str(session_id)))
        await self._bus.publish(Ring(f"session:{session_id}", "ended"))
        await self._bus.publish(Ring(f"user:{user_id}", "sessions"))


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
