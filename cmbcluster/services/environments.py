"""What people may do with environments.

Nothing here starts or stops anything: it writes what is wanted, in one transaction with
the activity entry and the check of the limits, and rings for the controller.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.db.database import Database, Work
from cmbcluster.db.failures import CommitUnknown, KeyTaken, retried
from cmbcluster.db.models import Environment
from cmbcluster.domain.actors import Actor, Scope
from cmbcluster.domain.contents import source_dict
from cmbcluster.domain.lifecycle import AT_REST, LAUNCHING, Desired, Phase, StopReason
from cmbcluster.domain.naming import clean_name, clean_search
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.domain.tiers import (
    LIMITS,
    Size,
    check_room,
    check_size,
    check_uptime,
    usual_size,
    usual_uptime_seconds,
)
from cmbcluster.domain.uptime import extended
from cmbcluster.domain.views import EnvironmentPage, EnvironmentSummary, EnvironmentView
from cmbcluster.errors import Conflict, InvalidInput, NotFound
from cmbcluster.services.catalogue import enabled_application
from cmbcluster.services.contents import ImageRules, check_startable, made_of
from cmbcluster.services.denials import records_denials
from cmbcluster.services.launch_keys import check_key, keep_key, launched_before
from cmbcluster.services.orders import fitting_size, new_row, size_of
from cmbcluster.services.portraits import Frame, deadline_of, listed, portraits, summary
from cmbcluster.services.rates import Limited, RateService
from cmbcluster.services.records import note_activity, note_between
from cmbcluster.settings import Settings

PAGE_LIMIT = 100
SEARCH_LIMIT = 100
REFERENCE = re.compile(r"[A-Za-z0-9-]{1,63}")
NOT_YOURS = ("There is no such environment, or it is not yours.", "Go to Home.")


@records_denials
class EnvironmentService:
    """Launching, stopping, starting, extending, renaming, updating and deleting."""

    def __init__(
        self, database: Database, bus: Bus, settings: Settings, rates: RateService, images: ImageRules
    ) -> None:
        self._database = database
        self._bus = bus
        self._settings = settings
        self._rates = rates
        self._images = images

    # ---- reading ----

    async def get(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        """One of the person's environments; missing and foreign ones raise the same NotFound."""
        owner_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            row = await _own(work, environment_id, owner_id)
            return await self._view(work, actor, row)

    async def page(
        self,
        actor: Actor,
        *,
        search: str = "",
        phase: str = "",
        sort: str = "-asked_at",
        offset: int = 0,
        limit: int = 25,
    ) -> EnvironmentPage:
        """One page of the person's environments. ``limit`` is cut to 100."""
        owner_id = actor.require(Scope.READ)
        limit = max(1, min(limit, PAGE_LIMIT))
        offset = max(0, offset)
        async with self._database.reading() as work:
            rows, total = await work.environments.page(
                owner_id, search=clean_search(search, SEARCH_LIMIT), phase=phase, sort=sort, offset=offset, limit=limit
            )
            views = await listed(work, rows, await self._frame(work, actor))
        return EnvironmentPage(views, total, offset)

    async def newest(
        self, actor: Actor, *, before: UUID | None = None, search: str = "", phase: str = "", limit: int = 25
    ) -> tuple[EnvironmentSummary, ...]:
        """The environments made before one of them, newest first, for a reader that goes on from where it was."""
        owner_id = actor.require(Scope.READ)
        limit = max(1, min(limit, PAGE_LIMIT + 1))
        search = clean_search(search, SEARCH_LIMIT)
        async with self._database.glance() as work:
            rows = await work.environments.before(owner_id, before, search=search, phase=phase, limit=limit)
            frame = await self._frame(work, actor)
        return tuple(summary(row, frame) for row in rows)

    async def resolve(self, actor: Actor, reference: str) -> UUID:
        """The id of one of the person's environments by its id, the word of its address, or its name."""
        owner_id = actor.require(Scope.READ, Scope.LAUNCH)
        if not REFERENCE.fullmatch(reference):
            raise NotFound(*NOT_YOURS)
        async with self._database.reading() as work:
            rows, row = work.environments, None
            with contextlib.suppress(ValueError):
                row = await rows.owned(UUID(reference), owner_id)
            row = row or await rows.addressed(owner_id, reference) or await rows.named(owner_id, reference)
        if row is None:
            raise NotFound(*NOT_YOURS)
        return row.id

    async def up_now(self, actor: Actor) -> tuple[EnvironmentView, ...]:
        """What runs, launches or stops at the moment."""
        owner_id = actor.require(Scope.READ)
        async with self._database.reading() as work:
            rows = await work.environments.occupying(owner_id)
            return await listed(work, rows, await self._frame(work, actor))

    # ---- asking ----

    async def launch(self, actor: Actor, order: LaunchOrder, *, key: str = "") -> EnvironmentView:
        """Ask for a new environment. The same order with the same ``key`` within a day is the same launch.

        Raises InvalidInput naming the field, NotFound for an unknown application,
        QuotaExceeded at a limit and Conflict when the name is taken.
        """
        owner_id = actor.require(Scope.LAUNCH)
        await self._rates.check(actor, Limited.LAUNCH)
        limits = LIMITS[actor.tier]
        check_key(key)
        name = clean_name(order.name)
        size = fitting_size(limits, order.size) if order.size is not None else None
        uptime_seconds = usual_uptime_seconds(limits) if order.uptime_seconds is None else order.uptime_seconds
        check_uptime(limits, uptime_seconds)
        wanted = replace(order, name=name, uptime_seconds=uptime_seconds)
        try:
            row, view = await self._launch(actor, owner_id, order, wanted, size, key)
        except KeyTaken as clash:
            # Two launches with one name at the same moment: the key decided, not the check.
            raise _name_taken(name) from clash
        except CommitUnknown:
            # It was kept or it was not. Only the key can tell, and only when it says that it was.
            if not key or (found := await self._launched(actor, owner_id, key, order)) is None:
                raise
            row, view = found
        await self._ring(row)
        return view

    @retried
    async def _launch(
        self, actor: Actor, owner_id: UUID, order: LaunchOrder, wanted: LaunchOrder, size: Size | None, key: str
    ) -> tuple[Environment, EnvironmentView]:
        """The transaction of a launch; ``wanted`` is the order as it was understood."""
        limits = LIMITS[actor.tier]
        async with self._database.transaction() as work:
            await work.users.lock(owner_id)
            now = await work.now()
            if key and (before := await launched_before(work, owner_id, key, order, now)) is not None:
                return before, await self._view(work, actor, before)
            application = await enabled_application(work, order.application_id)
            source, program = made_of(application, order.custom, now.date(), self._images)
            await _check_name_free(work, owner_id, wanted.name)
            check_room(limits, *await work.environments.counts(owner_id), adds_kept=True)
            size = size or usual_size(limits, application.size)
            row = new_row(actor, owner_id, wanted.name, application.id, source, program, size, limits, now)
            row.uptime_seconds = wanted.uptime_seconds or row.uptime_seconds
            work.environments.add(row)
            await work.flush()
            if key:
                keep_key(work, owner_id, key, order, row.id, now)
            note_activity(work, actor, "launched", now, owner_id=owner_id, environment=row)
            return row, await self._view(work, actor, row)

    async def _launched(
        self, actor: Actor, owner_id: UUID, key: str, order: LaunchOrder
    ) -> tuple[Environment, EnvironmentView] | None:
        """What was launched with this key, if anything was."""
        async with self._database.transaction() as work:
            row = await launched_before(work, owner_id, key, order, await work.now())
            return (row, await self._view(work, actor, row)) if row is not None else None

    async def start(self, actor: Actor, environment_id: UUID, *, size: str = "") -> EnvironmentView:
        """Ask to start again what is at rest, with the same packages or image; ``size`` may differ."""
        limits = LIMITS[actor.tier]
        await self._rates.check(actor, Limited.LAUNCH)

        async def change(asked: _Asked) -> bool:
            row = asked.row
            if row.phase not in AT_REST or row.desired == Desired.DELETED:
                raise Conflict("It is not stopped.", "Wait until it has stopped, then start it again.")
            if size:
                chosen = size_of(size)
                row.cpu_millis, row.memory_bytes = chosen.cpu_millis, chosen.memory_bytes
            check_startable(row, self._images)
            if row.image is not None and row.image.get("tag_on_nodes"):
                # Whether it may still run without a registry being asked is for the settings of now to say.
                row.image = None
            check_size(limits, row.cpu_millis, row.memory_bytes)
            check_uptime(limits, row.uptime_seconds)
            check_room(limits, *await asked.work.environments.counts(row.owner_id), adds_kept=False)
            # A better tier's workspace is larger. One that has become too large for its tier keeps its size.
            row.workspace_bytes = max(row.workspace_bytes, limits.workspace_bytes)
            row.run += 1
            row.extra_seconds = row.extensions_used = row.restarts = 0
            row.phase, row.phase_since, row.asked_at = Phase.QUEUED, asked.now, asked.now
            row.running_since = row.last_seen_at = row.protection = None
            row.reason_code = row.reason_what = row.reason_then = row.reason_log_tail = ""
            row.stop_reason = ""
            _want(row, actor, Desired.RUNNING)
            return True

        return await self._change(actor, environment_id, "started", change)

    async def stop(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        """Ask to stop; a launch under way is cancelled. Asking twice changes nothing."""

        async def change(asked: _Asked) -> bool:
            row = asked.row
            if row.desired != Desired.RUNNING or row.phase in AT_REST:
                return False
            row.stop_reason = StopReason.CANCELLED if row.phase in LAUNCHING else StopReason.ASKED
            _want(row, actor, Desired.STOPPED)
            return True

        return await self._change(actor, environment_id, "stopping", change)

    async def extend(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        """Move the deadline as far as the tier allows; raises Conflict when it does not run."""
        limits = LIMITS[actor.tier]

        async def change(asked: _Asked) -> bool:
            row = asked.row
            deadline_at = deadline_of(row)
            if row.phase != Phase.RUNNING or row.desired != Desired.RUNNING or deadline_at is None:
                raise Conflict("It is not running.", "Start it again to get its full time.")
            if deadline_at <= asked.now:
                raise Conflict("Its time is up.", "Start it again when it has stopped.")
            new = extended(limits, deadline_at, asked.now, row.extensions_used)
            row.extra_seconds += int((new - deadline_at).total_seconds())
            row.extensions_used += 1
            return True

        return await self._change(actor, environment_id, "extended", change)

    async def rename(self, actor: Actor, environment_id: UUID, name: str) -> EnvironmentView:
        """Change the name. The address stays, since it is in bookmarks and notebooks."""
        actor.require(Scope.LAUNCH)
        new = clean_name(name)

        async def change(asked: _Asked) -> bool:
            row = asked.row
            if row.name == new:
                return False
            await _check_name_free(asked.work, row.owner_id, new)
            row.name = new
            return True

        try:
            return await self._change(actor, environment_id, "renamed", change, detail=f"New name {new}")
        except KeyTaken as clash:
            raise _name_taken(new) from clash

    async def update(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        """Take the catalogue's present content, in its newest version, at the next start."""

        async def change(asked: _Asked) -> bool:
            row = asked.row
            if row.phase not in AT_REST:
                raise Conflict("It is not stopped.", "Stop it, then update it.")
            application = await enabled_application(asked.work, row.application_id)
            if application.program is not None:
                source, program = made_of(application, None, asked.now.date(), self._images)
                row.source, row.program = source_dict(source), asdict(program)
            row.lock_digest = row.image = None
            return True

        return await self._change(actor, environment_id, "updated", change)

    async def delete(self, actor: Actor, environment_id: UUID, *, typed_name: str, remove_workspace: bool) -> None:
        """Ask to delete; nobody it was shared with can open it from now on.

        Removing the workspace needs the environment's name as typed by the person.
        """
        guests: list[UUID] = []

        async def change(asked: _Asked) -> bool:
            row = asked.row
            if row.desired == Desired.DELETED:
                return False
            if remove_workspace and typed_name.strip() != row.name:
                raise InvalidInput(
                    "typed_name", "That is not its name.", f"Type {row.name} to remove its workspace too."
                )
            row.remove_workspace = remove_workspace
            _want(row, actor, Desired.DELETED)
            guests[:] = await asked.work.shares.remove_all(row.id)
            for guest_id in guests:
                note_between(asked.work, actor, "unshared", asked.now, guest_id=guest_id, environment=row)
            return True

        detail = "Workspace removed" if remove_workspace else "Workspace kept"
        await self._change(actor, environment_id, "deleted", change, detail=detail)
        for guest_id in guests:
            await self._bus.publish(Ring(f"user:{guest_id}", "shares"))

    # ---- how ----

    @retried
    async def _change(
        self, actor: Actor, environment_id: UUID, kind: str, change: _Change, detail: str = ""
    ) -> EnvironmentView:
        """Run ``change`` on the locked row with its activity entry, then ring."""
        owner_id = actor.require(Scope.LAUNCH)
        async with self._database.transaction() as work:
            await work.users.lock(owner_id)
            row = await _own(work, environment_id, owner_id, lock=True)
            now = await work.now()
            if not await change(_Asked(work, row, now)):
                return await self._view(work, actor, row)
            note_activity(work, actor, kind, now, owner_id=owner_id, environment=row, detail=detail)
            await work.flush()
            view = await self._view(work, actor, row)
        await self._ring(row)
        return view

    async def _view(self, work: Work, actor: Actor, row: Environment) -> EnvironmentView:
        return (await portraits(work, [row], await self._frame(work, actor)))[0]

    async def _frame(self, work: Work, actor: Actor) -> Frame:
        return Frame(await work.now(), LIMITS[actor.tier], self._settings)

    async def _ring(self, row: Environment) -> None:
        await self._bus.publish(Ring("controller", str(row.id)))
        await self._bus.publish(Ring("gate", str(row.id)))
        await self._bus.publish(Ring(f"user:{row.owner_id}", f"environment:{row.id}"))


@dataclass(frozen=True)
class _Asked:
    """What a change works on: the transaction, the locked row, and the time."""

    work: Work
    row: Environment
    now: datetime


# Returns False when what is asked for is so already; nothing is written or told then.
_Change = Callable[[_Asked], Awaitable[bool]]


def _want(row: Environment, actor: Actor, desired: Desired) -> None:
    row.desired = desired.value
    row.generation += 1
    row.operation_id = actor.operation_id[:64]


async def _own(work: Work, environment_id: UUID, owner_id: UUID, *, lock: bool = False) -> Environment:
    row = await work.environments.owned(environment_id, owner_id, lock=lock)
    if row is None:
        raise NotFound(*NOT_YOURS)
    return row


async def _check_name_free(work: Work, owner_id: UUID, name: str) -> None:
    if await work.environments.named(owner_id, name) is not None:
        raise _name_taken(name)


def _name_taken(name: str) -> InvalidInput:
    return InvalidInput("name", f"You have an environment called {name} already.", "Choose another name.")
