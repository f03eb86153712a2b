"""What scripts leave in the database: personal tokens, by hash, and the keys of their launches."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, update
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.models import ApiToken, LaunchKey, LinkedIdentity, User


class ApiTokens:
    """Rows of personal tokens; the token itself is never kept."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: ApiToken) -> None:
        """Keep a new token."""
        self._session.add(row)

    async def by_hash(self, token_sha256: str) -> tuple[ApiToken, User] | None:
        """A token and its person by the hash, revoked or not."""
        found = await self._session.exec(
            select(ApiToken, User)
            .join(User, col(User.id) == col(ApiToken.user_id))
            .where(ApiToken.token_sha256 == token_sha256)
        )
        return found.first()

    async def owned(self, token_id: UUID, user_id: UUID) -> ApiToken | None:
        """The person's token that is not revoked, locked; None for missing and foreign alike."""
        found = await self._session.exec(
            select(ApiToken)
            .where(ApiToken.id == token_id, ApiToken.user_id == user_id, col(ApiToken.revoked_at).is_(None))
            .with_for_update()
        )
        return found.first()

    async def of(self, user_id: UUID) -> tuple[ApiToken, ...]:
        """The person's tokens that are not revoked, expired ones too, the newest first."""
        found = await self._session.exec(
            select(ApiToken)
            .where(ApiToken.user_id == user_id, col(ApiToken.revoked_at).is_(None))
            .order_by(col(ApiToken.id).desc())
        )
        return tuple(found.all())

    async def count(self, user_id: UUID) -> int:
        """How many of the person's tokens are not revoked, expired ones too."""
        found = await self._session.exec(
            select(func.count()).where(ApiToken.user_id == user_id, col(ApiToken.revoked_at).is_(None))
        )
        return found.one()

    async def revoke_of_others(self, providers: Collection[str], now: datetime) -> None:
        """Revoke the tokens of people who have no identity at any of these providers."""
        known = select(LinkedIdentity.user_id).where(col(LinkedIdentity.provider).in_(providers))
        await self._session.exec(
            update(ApiToken)
            .where(col(ApiToken.revoked_at).is_(None), col(ApiToken.user_id).not_in(known))
            .values(revoked_at=now)
            .execution_options(synchronize_session=False)
        )

    async def revoke_all_of(self, user_id: UUID, now: datetime) -> tuple[UUID, ...]:
        """Revoke every token of a person; returns those that were not."""
        revoked = tuple(row.id for row in await self.of(user_id))
        await self._session.exec(
            update(ApiToken)
            .where(col(ApiToken.revoked_at).is_(None), col(ApiToken.user_id) == user_id)
            .values(revoked_at=now)
            .execution_options(synchronize_session=False)
        )
        return revoked

    async def touch(self, token_id: UUID, now: datetime) -> None:
        """Remember that it was used; never moves backwards."""
        await self._session.exec(
            update(ApiToken)
            .where(
                col(ApiToken.id) == token_id,
                or_(col(ApiToken.last_used_at).is_(None), col(ApiToken.last_used_at) < now),
            )
            .values(last_used_at=now)
        )


class LaunchKeys:
    """Rows of launches by the key they were asked for with."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: LaunchKey) -> None:
        """Keep a new one; it commits with the launch."""
        self._session.add(row)

    async def find(self, user_id: UUID, key: str) -> LaunchKey | None:
        """The launch that a person asked for with this key, or None."""
        return await self._session.get(LaunchKey, (user_id, key))

    async def forget(self, user_id: UUID, before: datetime) -> None:
        """Remove what the person asked for before a moment."""
        await self._session.exec(
            delete(LaunchKey).where(col(LaunchKey.user_id) == user_id, col(LaunchKey.created_at) < before)
        )
