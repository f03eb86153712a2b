"""Activity and notices: what happened, and what a person is told."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from cmbcluster.db.columns import add_unless_present
from cmbcluster.db.models import Activity, Notice


class ActivityRows:
    """Rows of the activity log. There is no way to change or remove one."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: Activity) -> None:
        """Keep a new entry; it commits with the change that it tells of."""
        self._session.add(row)

    async def page(
        self, owner_id: UUID, *, environment_id: UUID | None, kind: str, search: str, offset: int, limit: int
    ) -> tuple[tuple[Activity, ...], int]:
        """Entries of a person, newest first, and how many there are in all."""
        query = self._matching(owner_id, environment_id, kind, search)
        total = (await self._session.exec(select(func.count()).select_from(query.subquery()))).one()
        found = await self._session.exec(
            query.order_by(col(Activity.at).desc(), col(Activity.id).desc()).offset(offset).limit(limit)
        )
        return tuple(found.all()), total

    async def before(
        self,
        owner_id: UUID,
        before_id: UUID | None,
        limit: int,
        *,
        environment_id: UUID | None = None,
        kind: str = "",
    ) -> tuple[Activity, ...]:
        """The next entries before one, newest first: a list or an export that is never held whole."""
        query = self._matching(owner_id, environment_id, kind, "")
        if before_id is not None:
            query = query.where(col(Activity.id) < before_id)
        found = await self._session.exec(query.order_by(col(Activity.id).desc()).limit(limit))
        return tuple(found.all())

    async def kinds(self, owner_id: UUID) -> tuple[str, ...]:
        """The kinds that occur in a person's log."""
        found = await self._session.exec(
            select(Activity.kind).where(Activity.owner_id == owner_id).distinct().order_by(Activity.kind)
        )
        return tuple(found.all())

    def _matching(
        self, owner_id: UUID, environment_id: UUID | None, kind: str, search: str
    ) -> SelectOfScalar[Activity]:
        query = select(Activity).where(Activity.owner_id == owner_id)
        if environment_id is not None:
            query = query.where(Activity.environment_id == environment_id)
        if kind:
            query = query.where(Activity.kind == kind)
        if search:
            query = query.where(
                or_(
                    col(Activity.environment_name).icontains(search, autoescape=True),
                    col(Activity.detail).icontains(search, autoescape=True),
                    col(Activity.actor_name).icontains(search, autoescape=True),
                )
            )
        return query


class Notices:
    """Rows of notices."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add_once(self, row: Notice) -> bool:
        """Keep a notice unless one with the same ``once`` exists; says whether it was new.

        Safe against another controller: the key is unique, and the database decides.
        """
        return await add_unless_present(self._session, row, Notice.once)

    async def recent(self, user_id: UUID, limit: int) -> tuple[Notice, ...]:
        """The newest notices of a person."""
        found = await self._session.exec(
            select(Notice).where(Notice.user_id == user_id).order_by(col(Notice.at).desc()).limit(limit)
        )
        return tuple(found.all())

    async def mark_read(self, user_id: UUID, now: datetime) -> None:
        """Mark all of a person's notices as read."""
        await self._session.exec(
            update(Notice).where(col(Notice.user_id) == user_id, col(Notice.read_at).is_(None)).values(read_at=now)
        )
