"""Leases: rows that say who does something at the moment, and until when by the database's clock.

A lease saves work and protects nothing: its holder may be frozen and come back after somebody
else took over. What protects is in the transactions that write.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.models import Lease


class Leases:
    """Rows of leases, by name."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def by_name(self, name: str) -> Lease | None:
        """The lease, expired or not, or None when nobody ever held it."""
        return await self._session.get(Lease, name)

    async def take(self, name: str, holder: str, now: datetime, expires_at: datetime) -> int | None:
        """Take a lease that is free or over; its new epoch, or None while somebody holds it."""
        insert = postgresql.insert if self._session.get_bind().dialect.name == "postgresql" else sqlite.insert
        new = insert(Lease).values(name=name, holder=holder, epoch=1, expires_at=expires_at)
        # Whoever is later waits for the row, and finds that it is not over any more.
        taken = new.on_conflict_do_update(
            index_elements=[col(Lease.name)],
            set_={"holder": holder, "epoch": col(Lease.epoch) + 1, "expires_at": expires_at},
            where=col(Lease.expires_at) <= now,
        ).returning(col(Lease.epoch))
        found = await (await self._session.connection()).execute(taken)
        epoch = found.scalar_one_or_none()
        return None if epoch is None else int(epoch)

    async def renew(self, name: str, holder: str, epoch: int, expires_at: datetime) -> bool:
        """Hold it longer; False when somebody else took over meanwhile."""
        result = await self._session.exec(
            update(Lease)
            .where(col(Lease.name) == name, col(Lease.holder) == holder, col(Lease.epoch) == epoch)
            .values(expires_at=expires_at)
            .execution_options(synchronize_session=False)
        )
        return isinstance(result, CursorResult) and result.rowcount == 1
