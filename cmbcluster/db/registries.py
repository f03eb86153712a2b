"""People's accounts at registries of images; their secrets are sealed before they come here."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.models import RegistryAccount


class RegistryAccounts:
    """Rows of accounts."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: RegistryAccount) -> None:
        """Keep a new account."""
        self._session.add(row)

    async def remove(self, row: RegistryAccount) -> None:
        """Delete an account: nothing of it is kept."""
        await self._session.delete(row)

    async def of(self, user_id: UUID) -> tuple[RegistryAccount, ...]:
        """The person's accounts, by the name of the registry."""
        found = await self._session.exec(
            select(RegistryAccount).where(RegistryAccount.user_id == user_id).order_by(col(RegistryAccount.host))
        )
        return tuple(found.all())

    async def owned(self, account_id: UUID, user_id: UUID) -> RegistryAccount | None:
        """One of the person's accounts; None for missing and foreign alike."""
        found = await self._session.exec(
            select(RegistryAccount).where(RegistryAccount.id == account_id, RegistryAccount.user_id == user_id)
        )
        return found.first()

    async def at(self, user_id: UUID, host: str) -> RegistryAccount | None:
        """The person's account at one registry, or None."""
        found = await self._session.exec(
            select(RegistryAccount).where(RegistryAccount.user_id == user_id, RegistryAccount.host == host)
        )
        return found.first()

    async def count(self, user_id: UUID) -> int:
        """How many accounts the person has entered."""
        found = await self._session.exec(select(func.count()).where(RegistryAccount.user_id == user_id))
        return found.one()

    async def every(self, *, lock: bool = False) -> Sequence[RegistryAccount]:
        """All accounts of all people, for sealing them anew; locked: as they are now, until the transaction ends."""
        query = select(RegistryAccount).order_by(col(RegistryAccount.id))
        return (await self._session.exec(query.with_for_update() if lock else query)).all()
