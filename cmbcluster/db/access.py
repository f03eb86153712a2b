"""One-time codes of the gate."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, update
from sqlalchemy.engine import CursorResult
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.models import GateCode


class GateCodes:
    """Rows of codes, by hash; the code itself is never kept."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, row: GateCode) -> None:
        """Keep a new code."""
        self._session.add(row)

    async def use(self, code_sha256: str, now: datetime) -> GateCode | None:
        """The code's row, if this call is the first to use it and it has not expired."""
        result = await self._session.exec(
            update(GateCode)
            .where(
                col(GateCode.code_sha256) == code_sha256,
                col(GateCode.used_at).is_(None),
                col(GateCode.expires_at) > now,
            )
            .values(used_at=now)
        )
        if not isinstance(result, CursorResult) or result.rowcount != 1:
            return None
        return await self._session.get(GateCode, code_sha256)

    async def forget_expired(self, before: datetime) -> None:
        """Remove codes that expired before a moment."""
        # What another replica is just removing is left to it: nobody waits for tidying up.
        old = select(GateCode.code_sha256).where(col(GateCode.expires_at) < before).with_for_update(skip_locked=True)
        await self._session.exec(
            delete(GateCode).where(col(GateCode.code_sha256).in_(old)).execution_options(synchronize_session=False)
        )
