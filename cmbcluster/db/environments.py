"""Environments, the stages of their launches, and locks.

Every change names the generation it was decided on; a change that comes too late changes
no row and says so. Nothing here decides what should happen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVarTuple, cast
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Integer, Select, Uuid, bindparam, func, update
from sqlalchemy import select as select_columns
from sqlalchemy.engine import CursorResult
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from cmbcluster.db.columns import add_unless_present
from cmbcluster.db.models import Environment, LaunchStage, PackageLock
from cmbcluster.domain.lifecycle import LAUNCHING, OCCUPYING, Phase, Stage
from cmbcluster.domain.timing import Measured

# Databases take a limited number of parameters at once.
MOST_AT_ONCE = 500

PHASE_FILTERS: dict[str, frozenset[Phase]] = {
    "running": frozenset({Phase.RUNNING, Phase.UNKNOWN}),
    "launching": LAUNCHING,
    "stopped": frozenset({Phase.STOPPED, Phase.STOPPING}),
    "failed": frozenset({Phase.FAILED}),
}
SORTS = {"name": col(Environment.name), "asked_at": col(Environment.asked_at), "phase": col(Environment.phase)}


class StandingRow(NamedTuple):
    """How an environment stands; thousands are read at once, where whole rows would cost seconds."""

    id: UUID
    slug: str
    run: int
    phase: str
    generation: int
    observed_generation: int
    gone_at: datetime | None
    running_since: datetime | None
    uptime_seconds: int
    extra_seconds: int
    remove_workspace: bool = False
    phase_since: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the present wish is fulfilled, or given up."""
        return self.observed_generation == self.generation


class ListedRow(NamedTuple):
    """What a list shows of an environment; reading the rest of fifty rows would cost more than all else."""

    id: UUID
    name: str
    slug: str
    application_id: str
    desired: str
    phase: str
    phase_since: datetime
    cpu_millis: int
    memory_bytes: int
    uptime_seconds: int
    extra_seconds: int
    extensions_used: int
    created_at: datetime
    running_since: datetime | None
    reason_code: str
    reason_what: str
    reason_then: str
    reason_log_tail: str
    measured_bytes: int | None


_LISTED = tuple(col(getattr(Environment, name)) for name in ListedRow._fields)
_MEASURED = (
    col(LaunchStage.environment_id),
    col(LaunchStage.run),
    col(LaunchStage.stage),
    col(LaunchStage.started_at),
    col(LaunchStage.ended_at),
)

Ts = TypeVarTuple("Ts")


class Environments:
    """Rows of environments and what belongs to them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    # ---- environments ----

    def add(self, row: Environment) -> None:
        """Keep a new environment."""
        self._session.add(row)

    async def by_id(self, environment_id: UUID, *, lock: bool = False) -> Environment | None:
        """The environment, gone or not, or None; locked: as it is now, and until the transaction ends."""
        return await self._session.get(
            Environment, environment_id, with_for_update={"key_share": True} if lock else None
        )

    async def by_slug(self, slug: str) -> Environment | None:
        """The environment that has this address, or None."""
        found = await self._session.exec(select(Environment).where(Environment.slug == slug))
        return found.first()

    async def owned(self, environment_id: UUID, owner_id: UUID, *, lock: bool = False) -> Environment | None:
        """The owner's environment that is not gone; None for missing and foreign alike."""
        query = select(Environment).where(
            Environment.id == environment_id, Environment.owner_id == owner_id, col(Environment.gone_at).is_(None)
        )
        if lock:
            query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
        found = await self._session.exec(query)
        return found.first()

    async def named(self, owner_id: UUID, name: str) -> Environment | None:
        """The owner's environment of this name that is not gone."""
        found = await self._session.exec(
            select(Environment).where(
                Environment.owner_id == owner_id, Environment.name == name, col(Environment.gone_at).is_(None)
            )
        )
        return found.first()

    async def addressed(self, owner_id: UUID, slug: str) -> Environment | None:
        """The owner's environment at this address that is not gone."""
        found = await self._session.exec(
            select(Environment).where(
                Environment.owner_id == owner_id, Environment.slug == slug, col(Environment.gone_at).is_(None)
            )
        )
        return found.first()

    async def counts(self, owner_id: UUID) -> tuple[int, int]:
        """How many of the owner's environments hold a place, and how many are kept."""
        holds = col(Environment.phase).in_([phase.value for phase in OCCUPYING])
        found = await self._values(
            select_columns(func.count().filter(holds), func.count())
            .select_from(Environment)
            .where(col(Environment.owner_id) == owner_id, col(Environment.gone_at).is_(None))
        )
        running, kept = found.one()
        return running, kept

    async def page(
        self, owner_id: UUID, *, search: str, phase: str, sort: str, offset: int, limit: int
    ) -> tuple[tuple[Environment, ...], int]:
        """One page of the owner's environments and how many match in all."""
        query = _matching(owner_id, search, phase)
        total = (await self._session.exec(select(func.count()).select_from(query.subquery()))).one()
        return await self._listed(_sorted(query, sort).offset(offset).limit(limit)), total

    async def before(
        self, owner_id: UUID, before_id: UUID | None, *, search: str, phase: str, limit: int
    ) -> tuple[ListedRow, ...]:
        """The owner's next environments made before one, newest first: no page of it moves when others are added."""
        query = _listing(phase if phase in PHASE_FILTERS else "", before_id is not None)
        if search:
            query = query.where(_found(search))
        found = await self._values(query, {"owner": owner_id, "before": before_id, "rows": limit})
        return tuple(ListedRow._make(row) for row in found)

    async def occupying(self, owner_id: UUID) -> tuple[Environment, ...]:
        """The owner's environments that hold a place, the newest first. Bounded by the quota."""
        found = await self._session.exec(
            select(Environment)
            .where(Environment.owner_id == owner_id, col(Environment.phase).in_([p.value for p in OCCUPYING]))
            .order_by(col(Environment.asked_at).desc())
        )
        return tuple(found.all())

    async def standing(self, environment_ids: Collection[UUID]) -> dict[UUID, StandingRow]:
        """How these stand, whatever became of them; those that never were are missing."""
        found: dict[UUID, StandingRow] = {}
        wanted = list(environment_ids)
        for begin in range(0, len(wanted), MOST_AT_ONCE):
            part = wanted[begin : begin + MOST_AT_ONCE]
            rows = await self._values(_standing().where(col(Environment.id).in_(part)))
            found.update((each.id, each) for each in map(StandingRow._make, rows))
        return found

    async def unsettled(self) -> tuple[StandingRow, ...]:
        """What the controller must look after: moving, running, or asked to change."""
        settled = [Phase.STOPPED.value, Phase.FAILED.value]
        rows = await self._values(
            _standing().where(
                col(Environment.gone_at).is_(None),
                or_(
                    col(Environment.phase).notin_(settled),
                    col(Environment.observed_generation) != col(Environment.generation),
                ),
            )
        )
        return tuple(StandingRow._make(row) for row in rows)

    async def change(self, environment_id: UUID, seen_generation: int, **values: Any) -> bool:
        """Write ``values`` if the generation is still this one; says whether it was."""
        result = await self._session.exec(
            update(Environment)
            .where(
                col(Environment.id) == environment_id,
                col(Environment.generation) == seen_generation,
                col(Environment.gone_at).is_(None),
            )
            .values(**values)
            .execution_options(synchronize_session="fetch")
        )
        return isinstance(result, CursorResult) and result.rowcount == 1

    # ---- stages ----

    async def stages(self, environment_id: UUID, run: int) -> tuple[LaunchStage, ...]:
        """The stages of one run in the order they began."""
        found = await self._session.exec(
            select(LaunchStage)
            .where(LaunchStage.environment_id == environment_id, LaunchStage.run == run)
            .order_by(col(LaunchStage.started_at), col(LaunchStage.id))
        )
        return tuple(found.all())

    async def stages_of(self, runs: Sequence[tuple[UUID, int]]) -> dict[UUID, tuple[LaunchStage, ...]]:
        """The stages of several runs (a page of them) in one query."""
        if not runs:
            return {}
        wanted = dict(runs)
        found = await self._session.exec(
            select(LaunchStage)
            .where(col(LaunchStage.environment_id).in_(list(wanted)))
            .order_by(col(LaunchStage.started_at), col(LaunchStage.id))
        )
        grouped: dict[UUID, list[LaunchStage]] = {}
        for stage in found.all():
            if stage.run == wanted[stage.environment_id]:
                grouped.setdefault(stage.environment_id, []).append(stage)
        return {key: tuple(stages) for key, stages in grouped.items()}

    async def put_stages(self, environment_id: UUID, run: int, rows: Sequence[LaunchStage]) -> bool:
        """Insert or update stages of one run; says whether anything changed."""
        if not rows:
            return False
        present = {stage.stage: stage for stage in await self.stages(environment_id, run)}
        changed = False
        for row in rows:
            known = present.get(row.stage)
            if known is None:
                self._session.add(row)
                changed = True
                continue
            for name in ("started_at", "ended_at", "done", "total", "unit", "detail", "failed"):
                if getattr(known, name) != getattr(row, name):
                    setattr(known, name, getattr(row, name))
                    changed = True
        return changed

    async def recent_stages(self, application_id: str, limit: int) -> tuple[Measured, ...]:
        """The newest ended stages of an application's launches, whoever launched them.

        Every page asks for them again and again, so they come as values, not as rows to be watched for changes.
        """
        found = await self._values(
            select_columns(*_MEASURED)
            .where(
                col(LaunchStage.application_id) == application_id,
                col(LaunchStage.ended_at).is_not(None),
                col(LaunchStage.failed).is_(False),
            )
            .order_by(col(LaunchStage.started_at).desc())
            .limit(limit)
        )
        return tuple(
            Measured(environment_id, run, Stage(stage), started_at, ended_at)
            for environment_id, run, stage, started_at, ended_at in found
            if ended_at is not None
        )

    # ---- locks ----

    async def lock_by_digest(self, digest: str) -> PackageLock | None:
        """A lock, or None."""
        return await self._session.get(PackageLock, digest)

    async def keep_lock(self, row: PackageLock) -> None:
        """Keep a lock unless the same one is kept already, or is being kept at this moment."""
        if await self._session.get(PackageLock, row.digest) is None:
            await add_unless_present(self._session, row, PackageLock.digest)

    async def _listed(self, query: SelectOfScalar[Environment]) -> tuple[Environment, ...]:
        """Rows to be read and nothing else: they have an environment's fields, and no change of them is noticed."""
        found = await self._values(query)
        return cast("tuple[Environment, ...]", tuple(found.all()))

    async def _values(self, query: Select[*Ts], values: dict[str, Any] | None = None) -> CursorResult[*Ts]:
        """Rows as plain values; what was added so far is sent first, as the session does for objects."""
        await self._session.flush()
        return await (await self._session.connection()).execute(query, values)


def _matching(owner_id: UUID, search: str, phase: str) -> SelectOfScalar[Environment]:
    query = select(Environment).where(*_conditions(owner_id, phase))
    return query.where(_found(search)) if search else query


@lru_cache(maxsize=16)
def _listing(phase: str, goes_on: bool) -> Select[Any]:
    """A list of ``owner``'s, of ``rows``, made once: putting it together costs as much as asking it."""
    conditions = _conditions(bindparam("owner", type_=Uuid()), phase)
    if goes_on:
        conditions.append(col(Environment.id) < bindparam("before", type_=Uuid()))
    query: Select[Any] = select_columns(*_LISTED).where(*conditions)
    return query.order_by(col(Environment.id).desc()).limit(bindparam("rows", type_=Integer()))


def _conditions(owner: UUID | BindParameter[UUID], phase: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [col(Environment.owner_id) == owner, col(Environment.gone_at).is_(None)]
    if phase in PHASE_FILTERS:
        conditions.append(col(Environment.phase).in_([p.value for p in PHASE_FILTERS[phase]]))
    return conditions


def _found(search: str) -> ColumnElement[bool]:
    return or_(
        col(Environment.name).icontains(search, autoescape=True),
        col(Environment.application_id).icontains(search, autoescape=True),
    )


def _sorted(query: SelectOfScalar[Environment], sort: str) -> SelectOfScalar[Environment]:
    column = SORTS.get(sort.removeprefix("-"), SORTS["asked_at"])
    order = column.desc() if sort.startswith("-") else column.asc()
    return query.order_by(order, col(Environment.id).desc())


def _standing() -> Select[
    tuple[UUID, str, int, str, int, int, datetime | None, datetime | None, int, int, bool, datetime | None]
]:
    return select_columns(*(getattr(Environment, name) for name in StandingRow._fields))
