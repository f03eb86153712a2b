"""Looking into one's own environment: its output, what it uses, how large its workspace is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

from cmbcluster.db.database import Database
from cmbcluster.db.models import Environment
from cmbcluster.domain.actors import Actor, Scope
from cmbcluster.domain.views import UsageView
from cmbcluster.errors import NotFound
from cmbcluster.runtime.port import Insight, LogLine, Ref
from cmbcluster.services.denials import records_denials
from cmbcluster.services.environments import NOT_YOURS


@records_denials
class InsightService:
    """Reads from the runtime what the owner may see."""

    def __init__(self, database: Database, insight: Insight) -> None:
        self._database = database
        self._insight = insight

    async def logs(
        self, actor: Actor, environment_id: UUID, *, offset: int, follow: bool, previous: bool = False
    ) -> AsyncIterator[LogLine]:
        """Lines of the present run's output; raises NotFound for missing and foreign environments.

        ``previous``: of the run before, which is over, as far as it is kept; nothing when there was none.
        """
        row = await self._own(actor, environment_id)
        ref = ref_of(row)
        if previous:
            ref, follow = replace(ref, generation=row.run - 1), False
        if ref.generation < 1:
            return
        async for line in self._insight.logs(ref, offset=offset, follow=follow):
            yield line

    async def usage(self, actor: Actor, environment_id: UUID) -> UsageView | None:
        """What the environment uses now, or None when it does not run."""
        row = await self._own(actor, environment_id)
        return await self._insight.usage(ref_of(row))

    async def workspace_bytes(self, actor: Actor, environment_id: UUID) -> int | None:
        """Size of the workspace in bytes, measured now, or None when there is none yet."""
        row = await self._own(actor, environment_id)
        return await self._insight.workspace_bytes(ref_of(row))

    async def _own(self, actor: Actor, environment_id: UUID) -> Environment:
        owner_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            row = await work.environments.owned(environment_id, owner_id)
        if row is None:
            raise NotFound(*NOT_YOURS)
        return row


def ref_of(row: Environment) -> Ref:
    """The name of the row's present run."""
    return Ref(row.id, row.slug, row.run)
