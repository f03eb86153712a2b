"""Applications."""

from __future__ import annotations

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.models import Application


class Applications:
    """Rows of the catalogue."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: Application) -> None:
        """Keep a new application."""
        self._session.add(row)

    async def by_id(self, application_id: str) -> Application | None:
        """The application, enabled or not, or None."""
        return await self._session.get(Application, application_id)

    async def enabled(self, search: str = "", category: str = "") -> tuple[Application, ...]:
        """What may be launched, in the catalogue's order."""
        query = select(Application).where(col(Application.enabled).is_(True))
        if category:
            query = query.where(Application.category == category)
        if search:
            query = query.where(
                or_(
                    col(Application.name).icontains(search, autoescape=True),
                    col(Application.summary).icontains(search, autoescape=True),
                    col(Application.category).icontains(search, autoescape=True),
                )
            )
        found = await self._session.exec(query.order_by(col(Application.position), col(Application.id)))
        return tuple(found.all())

    async def names(self) -> dict[str, tuple[str, str]]:
        """Name and icon of every application by id. The catalogue is small and admin-made."""
        found = await self._session.exec(select(Application.id, Application.name, Application.icon))
        return {row[0]: (row[1], row[2]) for row in found.all()}
