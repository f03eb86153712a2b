"""With whom environments are shared.

Nothing here decides who may share or open. But who asks whether somebody may open an
environment must never get a yes for one that is going, or whose owner is shut out.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.engine import CursorResult
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from cmbcluster.db.models import Environment, Share, User
from cmbcluster.domain.lifecycle import Desired


class Shares:
    """Rows of shares."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: Share) -> None:
        """Keep a new share."""
        self._session.add(row)

    async def opens(self, environment_id: UUID, user_id: UUID) -> bool:
        """Whether somebody may open an environment of somebody else now."""
        found = await self._session.exec(_opening(user_id).where(Share.environment_id == environment_id))
        return found.first() is not None

    async def guests(self, environment_id: UUID) -> tuple[tuple[Share, User], ...]:
        """Everybody an environment is shared with, the first one first."""
        found = await self._session.exec(
            select(Share, User)
            .join(User, col(User.id) == col(Share.user_id))
            .where(Share.environment_id == environment_id)
            .order_by(col(Share.created_at), col(Share.user_id))
        )
        return tuple(found.all())

    async def count(self, environment_id: UUID) -> int:
        """With how many people an environment is shared."""
        found = await self._session.exec(
            select(func.count()).select_from(Share).where(Share.environment_id == environment_id)
        )
        return int(found.one())

    async def opened_by(self, user_id: UUID, limit: int) -> tuple[tuple[Share, Environment, User], ...]:
        """What somebody may open of others' now, with its owner, the newest share first."""
        found = await self._session.exec(
            select(Share, Environment, User)
            .join(Environment, col(Environment.id) == col(Share.environment_id))
            .join(User, col(User.id) == col(Environment.owner_id))
            .where(col(Share.environment_id).in_(_opening(user_id)), Share.user_id == user_id)
            .order_by(col(Share.created_at).desc(), col(Share.environment_id))
            .limit(limit)
        )
        return tuple(found.all())

    async def remove(self, environment_id: UUID, user_id: UUID) -> bool:
        """Withdraw one share; says whether there was one."""
        result = await self._session.exec(
            delete(Share).where(col(Share.environment_id) == environment_id, col(Share.user_id) == user_id)
        )
        return isinstance(result, CursorResult) and result.rowcount == 1

    async def remove_all(self, environment_id: UUID) -> tuple[UUID, ...]:
        """Withdraw every share of an environment; returns whose they were."""
        found = await self._session.exec(select(Share.user_id).where(Share.environment_id == environment_id))
        whose = tuple(found.all())
        await self._session.exec(delete(Share).where(col(Share.environment_id) == environment_id))
        return whose


def _opening(user_id: UUID) -> SelectOfScalar[UUID]:
    """Ids of the environments that are open to somebody through a share."""
    return (
        select(Share.environment_id)
        .join(Environment, col(Environment.id) == col(Share.environment_id))
        .join(User, col(User.id) == col(Environment.owner_id))
        .where(
            Share.user_id == user_id,
            col(Environment.gone_at).is_(None),
            Environment.desired != Desired.DELETED.value,
            col(User.disabled_at).is_(None),
        )
    )
