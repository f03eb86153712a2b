"""Identities of people at providers, and the sign-ins on their way to one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.engine import CursorResult
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.models import ApiToken, LinkedIdentity, Session, SignInAttempt, User


class Identities:
    """Rows of identities."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: LinkedIdentity) -> None:
        """Keep a new identity."""
        self._session.add(row)

    async def person(self, provider: str, subject: str, *, lock: bool = False) -> tuple[LinkedIdentity, User] | None:
        """An identity and the person whose it is, or None; locked: both as they are now, until the transaction ends."""
        query = (
            select(LinkedIdentity, User)
            .join(User, col(User.id) == col(LinkedIdentity.user_id))
            .where(LinkedIdentity.provider == provider, LinkedIdentity.subject == subject)
        )
        if lock:
            query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
        return (await self._session.exec(query)).first()

    async def of(self, user_id: UUID) -> tuple[LinkedIdentity, ...]:
        """All identities of a person, the first one first."""
        found = await self._session.exec(
            select(LinkedIdentity)
            .where(LinkedIdentity.user_id == user_id)
            .order_by(col(LinkedIdentity.created_at), col(LinkedIdentity.id))
        )
        return tuple(found.all())

    async def of_those_inside(self) -> tuple[tuple[LinkedIdentity, User], ...]:
        """Every identity of people who have a session or a token that has not ended, or a role to lose; by person."""
        sessions = select(Session.user_id).where(col(Session.ended_at).is_(None))
        tokens = select(ApiToken.user_id).where(col(ApiToken.revoked_at).is_(None))
        found = await self._session.exec(
            select(LinkedIdentity, User)
            .join(User, col(User.id) == col(LinkedIdentity.user_id))
            .where(or_(col(User.id).in_(sessions), col(User.id).in_(tokens), col(User.role) == "admin"))
            .order_by(col(User.id))
        )
        return tuple(found.all())

    async def end_sessions_of_others(self, providers: Collection[str], now: datetime) -> int:
        """End the sessions of people who have no identity at any of these providers; returns how many."""
        known = select(LinkedIdentity.user_id).where(col(LinkedIdentity.provider).in_(providers))
        result = await self._session.exec(
            update(Session)
            .where(col(Session.ended_at).is_(None), col(Session.user_id).not_in(known))
            .values(ended_at=now)
            .execution_options(synchronize_session=False)
        )
        return result.rowcount if isinstance(result, CursorResult) else 0


class SignInAttempts:
    """Rows of sign-ins on their way, by the hash of their state."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: SignInAttempt) -> None:
        """Keep a new one."""
        self._session.add(row)

    async def by_state(self, state_sha256: str) -> SignInAttempt | None:
        """The attempt, used or not, or None; locked, so that of two that bring it one finds it used."""
        return await self._session.get(SignInAttempt, state_sha256, with_for_update=True)

    async def use(self, state_sha256: str, now: datetime) -> bool:
        """Whether this call is the first to use it, in time."""
        result = await self._session.exec(
            update(SignInAttempt)
            .where(
                col(SignInAttempt.state_sha256) == state_sha256,
                col(SignInAttempt.used_at).is_(None),
                col(SignInAttempt.expires_at) > now,
            )
            .values(used_at=now)
            .execution_options(synchronize_session=False)
        )
        return isinstance(result, CursorResult) and result.rowcount == 1

    async def forget_expired(self, before: datetime) -> None:
        """Remove those that expired before a moment."""
        # What another replica is just removing is left to it: nobody waits for tidying up.
        old = (
            select(SignInAttempt.state_sha256)
            .where(col(SignInAttempt.expires_at) < before)
            .with_for_update(skip_locked=True)
        )
        await self._session.exec(
            delete(SignInAttempt)
            .where(col(SignInAttempt.state_sha256).in_(old))
            .execution_options(synchronize_session=False)
        )
