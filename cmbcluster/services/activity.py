"""A person's own activity, and what they should be told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.db.database import Database
from cmbcluster.db.models import Activity
from cmbcluster.domain.actors import Actor, Scope
from cmbcluster.domain.naming import clean_search
from cmbcluster.domain.views import ActivityPage, ActivityView, NoticeView
from cmbcluster.services.denials import records_denials

PAGE_LIMIT = 100
EXPORT_BATCH = 500
NOTICES_SHOWN = 20
SEARCH_LIMIT = 100


@records_denials
class ActivityService:
    """Reading the log. Nobody can change it; entries are made with the changes themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        actor: Actor,
        *,
        environment_id: UUID | None = None,
        kind: str = "",
        search: str = "",
        offset: int = 0,
        limit: int = 25,
    ) -> ActivityPage:
        """One page of the person's log, newest first. ``limit`` is cut to 100."""
        owner_id = actor.require(Scope.READ)
        limit = max(1, min(limit, PAGE_LIMIT))
        async with self._database.reading() as work:
            rows, total = await work.activity.page(
                owner_id,
                environment_id=environment_id,
                kind=kind,
                search=clean_search(search, SEARCH_LIMIT),
                offset=max(0, offset),
                limit=limit,
            )
        return ActivityPage(tuple(_view(row, owner_id) for row in rows), total, max(0, offset))

    async def newest(
        self,
        actor: Actor,
        *,
        before: UUID | None = None,
        environment_id: UUID | None = None,
        kind: str = "",
        limit: int = 25,
    ) -> tuple[ActivityView, ...]:
        """The entries before one of them, newest first, for a reader that goes on from where it was."""
        owner_id = actor.require(Scope.READ)
        limit = max(1, min(limit, PAGE_LIMIT + 1))
        async with self._database.reading() as work:
            rows = await work.activity.before(owner_id, before, limit, environment_id=environment_id, kind=kind)
        return tuple(_view(row, owner_id) for row in rows)

    async def kinds(self, actor: Actor) -> tuple[str, ...]:
        """The kinds that occur in the person's log, for a filter."""
        owner_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            return await work.activity.kinds(owner_id)

    async def export(self, actor: Actor) -> AsyncIterator[ActivityView]:
        """The whole log of the person, newest first, a batch at a time."""
        owner_id = actor.require(Scope.READ)
        before_id: UUID | None = None
        while True:
            async with self._database.reading() as work:
                rows = await work.activity.before(owner_id, before_id, EXPORT_BATCH)
            for row in rows:
                yield _view(row, owner_id)
            if len(rows) < EXPORT_BATCH:
                return
            before_id = rows[-1].id


@records_denials
class NoticeService:
    """Warnings and news for one person."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def recent(self, actor: Actor) -> tuple[NoticeView, ...]:
        """The newest notices, newest first."""
        user_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            rows = await work.notices.recent(user_id, NOTICES_SHOWN)
        return tuple(
            NoticeView(r.id, r.at, r.kind, r.environment_id, r.environment_name, r.text, r.read_at is None)
            for r in rows
        )

    async def mark_read(self, actor: Actor) -> None:
        """Mark all notices of the person as read."""
        user_id = actor.require_session()
        async with self._database.transaction() as work:
            await work.notices.mark_read(user_id, await work.now())
        await self._bus.publish(Ring(f"user:{user_id}", "notices"))


def _view(row: Activity, reader_id: UUID) -> ActivityView:
    return ActivityView(
        id=row.id,
        at=row.at,
        kind=row.kind,
        actor_name="" if row.actor_id == reader_id else (row.actor_name or "CMBCluster"),
        environment_id=row.environment_id,
        environment_name=row.environment_name,
        detail=row.detail,
        result=row.result,
        address=row.address,
        operation_id=row.operation_id,
    )
