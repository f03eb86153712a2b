"""Users and their sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.engine import CursorResult
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.models import Session, User


class Users:
    """Rows of people."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, user: User) -> None:
        """Keep a new user."""
        self._session.add(user)

    async def by_id(self, user_id: UUID) -> User | None:
        """The user, or None."""
        return await self._session.get(User, user_id)

    async def by_subject(self, provider: str, subject: str) -> User | None:
        """The user who first came with this identity, or None; ``identities`` has the others too."""
        found = await self._session.exec(select(User).where(User.provider == provider, User.subject == subject))
        return found.first()

    async def by_email(self, email: str) -> tuple[User, ...]:
        """All users with this verified e-mail address, however it is written; an address identifies nobody."""
        found = await self._session.exec(
            select(User).where(func.lower(User.email) == email.lower(), col(User.email_verified).is_(True))
        )
        return tuple(found.all())

    async def verified(self, email: str) -> tuple[User, ...]:
        """People who can sign in and whose address is this one, however it is written, verified by their provider."""
        found = await self._session.exec(
            select(User).where(
                func.lower(User.email) == email.lower(),
                col(User.email_verified).is_(True),
                col(User.disabled_at).is_(None),
            )
        )
        return tuple(found.all())

    async def called(self, name: str) -> tuple[User, ...]:
        """People who can sign in and whom their provider calls so; a name they gave themselves does not count."""
        found = await self._session.exec(
            select(User).where(User.name == name, col(User.name_chosen).is_(False), col(User.disabled_at).is_(None))
        )
        return tuple(found.all())

    async def admins(self) -> int:
        """How many admins can sign in."""
        found = await self._session.exec(
            select(func.count()).select_from(User).where(User.role == "admin", col(User.disabled_at).is_(None))
        )
        return int(found.one())

    async def lock(self, user_id: UUID) -> User | None:
        """The user with their row locked until the end of the transaction, and as it is now.

        Rows that refer to a locked one may be added by others meanwhile; the controller does
        so while it holds an environment. On SQLite the whole database is locked already, and
        the clause is left out.
        """
        found = await self._session.exec(
            select(User)
            .where(User.id == user_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return found.first()


class Sessions:
    """Rows of sign-ins."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: Session) -> None:
        """Keep a new session."""
        self._session.add(row)

    async def by_id(self, session_id: UUID) -> tuple[Session, User] | None:
        """A session and its user, ended or not."""
        found = await self._session.exec(
            select(Session, User).join(User, col(User.id) == col(Session.user_id)).where(Session.id == session_id)
        )
        return found.first()

    async def alive_of(self, user_id: UUID, now: datetime, idle_since: datetime) -> tuple[Session, ...]:
        """A person's sessions that still work, the newest activity first."""
        found = await self._session.exec(
            select(Session)
            .where(
                Session.user_id == user_id,
                col(Session.ended_at).is_(None),
                col(Session.expires_at) > now,
                col(Session.last_seen_at) > idle_since,
            )
            .order_by(col(Session.last_seen_at).desc())
        )
        return tuple(found.all())

    async def last_made(self, user_id: UUID) -> datetime | None:
        """When the person last signed in."""
        found = await self._session.exec(select(func.max(Session.created_at)).where(Session.user_id == user_id))
        return found.one()

    async def touch(self, session_id: UUID, now: datetime) -> None:
        """Remember activity; never moves backwards."""
        await self._session.exec(
            update(Session)
            .where(col(Session.id) == session_id, col(Session.last_seen_at) < now)
            .values(last_seen_at=now)
        )

    async def saw_serial(self, session_id: UUID, serial: int) -> None:
        """Remember that the newest token came back from the browser."""
        await self._session.exec(
            update(Session).where(col(Session.id) == session_id, col(Session.serial) == serial).values(serial_seen=True)
        )

    async def next_serial(self, session_id: UUID, serial: int, now: datetime) -> bool:
        """Count a new token in place of ``serial``; False when somebody else was quicker."""
        result = await self._session.exec(
            update(Session)
            .where(col(Session.id) == session_id, col(Session.serial) == serial)
            .values(serial=serial + 1, serial_seen=False, serial_made_at=now)
        )
        return isinstance(result, CursorResult) and result.rowcount == 1

    async def end_all_of(self, user_id: UUID, now: datetime) -> tuple[UUID, ...]:
        """End every session of a person; returns those that had not ended."""
        open_ones = await self._session.exec(
            select(Session.id).where(Session.user_id == user_id, col(Session.ended_at).is_(None))
        )
        ended = tuple(open_ones.all())
        await self._session.exec(
            update(Session).where(col(Session.user_id) == user_id, col(Session.ended_at).is_(None)).values(ended_at=now)
        )
        return ended

    async def end(self, session_id: UUID, now: datetime) -> None:
        """End one session; ending it again changes nothing."""
        await self._session.exec(
            update(Session).where(col(Session.id) == session_id, col(Session.ended_at).is_(None)).values(ended_at=now)
        )
