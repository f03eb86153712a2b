"""Runs that no row wants: older runs and those of a row at rest are stopped, unknown ones only after a grace.

What has no row, or is newer than its row, may belong to a database that is being restored, so it
is seen twice and for ten minutes before it is stopped; without a row it is cleared away too. Its
workspace is reported and never removed. One whose owner asked for its end is removed again, as a
controller that was frozen in a launch may make it anew when everybody else was done.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime

import structlog

from cmbcluster.controller.recorder import Recorder
from cmbcluster.db.environments import StandingRow
from cmbcluster.domain.lifecycle import AT_REST
from cmbcluster.errors import CMBClusterError, Conflict, RuntimeUnavailable
from cmbcluster.runtime.port import Leftovers, Observation, Ref, Runtime, Sight, Workspace

log = structlog.get_logger("cmbcluster.controller")

# A controller that was frozen for longer than this has lost its connections, and everything it meant to make.
LONGEST_FREEZE_SECONDS = 3600.0
GRACE_SECONDS = 600.0


@dataclass
class _Sighting:
    first_at: datetime
    times: int = 0


class Orphans:
    """Remembers what was seen, and looks through it at every sweep."""

    def __init__(self, recorder: Recorder, runtime: Runtime, grace_seconds: float = GRACE_SECONDS) -> None:
        self._recorder = recorder
        self._runtime = runtime
        self._grace_seconds = grace_seconds
        self._seen: dict[Ref, Observation] = {}
        self._unknown: dict[Hashable, _Sighting] = {}
        self._reported: set[Workspace] = set()
        self._listed_at: datetime | None = None

    def notice(self, observation: Observation) -> None:
        """Remember the newest observation of a run; what is not there needs no remembering."""
        if observation.sight is Sight.ABSENT:
            self._forget(observation.ref)
        else:
            self._seen[observation.ref] = observation

    async def sweep(self) -> None:
        """Stop runs that their environment has left behind, and clear long unknown ones away."""
        rows, now = await self._recorder.standing({ref.environment_id for ref in self._seen})
        for ref in list(self._seen):
            row = rows.get(ref.environment_id)
            if row is None:
                if self._is_long_unknown(ref, now):
                    await self._clear(ref)
                continue
            is_newer = ref.generation > row.run
            if not is_newer:
                self._unknown.pop(ref, None)
            seen = self._seen.get(ref)
            if seen is None:
                # It went away meanwhile.
                continue
            if seen.sight is Sight.EXITED:
                # How it ended is the row's affair.
                self._forget(ref)
            elif is_newer:
                # The database was set back to before it began. How it ends is left to be seen.
                if self._is_long_unknown(ref, now):
                    await self._stop(ref, "newer_than_its_row")
            elif not _is_wanted(row, ref):
                await self._stop(ref, "left_behind")
        if isinstance(self._runtime, Leftovers):
            await self._look_at_workspaces(self._runtime)

    async def _clear(self, ref: Ref) -> None:
        """End an unknown run, and when it has ended delete what is left of it but the workspace."""
        try:
            sight = (await self._runtime.look(ref)).sight
            if sight is Sight.ABSENT:
                self._forget(ref)
            elif sight is Sight.EXITED:
                log.warning("orphan_removed", environment=ref.slug, run=ref.generation)
                await self._runtime.remove(ref, workspace=False)
                self._forget(ref)
            elif sight not in (Sight.STOPPING, Sight.UNKNOWN):
                await self._stop(ref, "unknown")
        except (Conflict, RuntimeUnavailable) as failed:
            # One that cannot be cleared away must not keep the others.
            log.warning("orphan_stays", environment=ref.slug, run=ref.generation, error=str(failed))

    async def _stop(self, ref: Ref, why: str) -> None:
        log.warning("orphan_stopped", environment=ref.slug, run=ref.generation, why=why)
        try:
            await self._runtime.stop(ref)
        except Conflict:
            return
        except RuntimeUnavailable as failed:
            # One that cannot be stopped must not keep the others.
            log.warning("orphan_stays", environment=ref.slug, run=ref.generation, error=str(failed))

    async def _look_at_workspaces(self, runtime: Leftovers) -> None:
        """Report workspaces of environments that nobody knows, once each; they are asked for seldom."""
        _, now = await self._recorder.standing(())
        if self._listed_at is not None and (now - self._listed_at).total_seconds() < self._grace_seconds / 2:
            return
        self._listed_at = now
        await runtime.clear_unused()
        found = await runtime.workspaces()
        known, now = await self._recorder.standing({each.environment_id for each in found})
        self._reported &= set(found)
        for workspace in found:
            row = known.get(workspace.environment_id)
            if row is not None and _was_made_again(workspace, row):
                if self._is_long_unknown(workspace, now):
                    await self._remove_again(workspace, row)
            elif row is not None and not _was_brought_back(workspace, row):
                self._unknown.pop(workspace, None)
                if _rests_lately(row, now):
                    await self._clear_secret(runtime, Ref(row.id, row.slug, row.run))
            elif workspace not in self._reported and self._is_long_unknown(workspace, now):
                await self._report(runtime, workspace)

    async def _remove_again(self, workspace: Workspace, row: StandingRow) -> None:
        log.warning("workspace_removed_again", environment=workspace.slug)
        try:
            await self._runtime.remove(Ref(row.id, row.slug, row.run), workspace=True)
        except (Conflict, RuntimeUnavailable) as failed:
            # A run that was started too late is stopped by the sweep, and the next look finds it ended.
            log.warning("orphan_stays", environment=workspace.slug, error=str(failed))

    async def _clear_secret(self, runtime: Leftovers, ref: Ref) -> None:
        try:
            await runtime.clear_secret(ref)
        except RuntimeUnavailable as failed:
            log.warning("orphan_stays", environment=ref.slug, run=ref.generation, error=str(failed))

    async def _report(self, runtime: Leftovers, workspace: Workspace) -> None:
        try:
            await runtime.clear_secrets(workspace)
        except CMBClusterError as failed:
            log.warning("orphan_stays", environment=workspace.slug, error=str(failed))
            return
        named = {"environment": workspace.slug, "environment_id": str(workspace.environment_id)}
        log.warning("orphan_workspace_kept", **named)
        self._reported.add(workspace)
        self._unknown.pop(workspace, None)

    def _is_long_unknown(self, what: Hashable, now: datetime) -> bool:
        """Note one more sighting; whether it has been seen twice and for the grace."""
        sighting = self._unknown.setdefault(what, _Sighting(now))
        sighting.times += 1
        return sighting.times >= 2 and (now - sighting.first_at).total_seconds() >= self._grace_seconds

    def _forget(self, ref: Ref) -> None:
        self._seen.pop(ref, None)
        self._unknown.pop(ref, None)


def _is_wanted(row: StandingRow, ref: Ref) -> bool:
    """Whether the row may want the run. One that came to rest never does again: a start makes a new run.

    A controller that was frozen may have started it after another one found it stopped.
    """
    at_rest = row.phase in AT_REST and row.is_settled
    return row.gone_at is None and row.run == ref.generation and not at_rest


def _rests_lately(row: StandingRow, now: datetime) -> bool:
    """Whether a controller that was frozen in its launch may still make, or just has made, a part of it."""
    if row.phase not in AT_REST or not row.is_settled or row.phase_since is None:
        return False
    return (now - row.phase_since).total_seconds() <= LONGEST_FREEZE_SECONDS


def _was_made_again(workspace: Workspace, row: StandingRow) -> bool:
    """Whether it was to be deleted and is there: a controller that was frozen in a launch made it anew."""
    return row.gone_at is not None and row.remove_workspace and not _was_brought_back(workspace, row)


def _was_brought_back(workspace: Workspace, row: StandingRow) -> bool:
    """Whether it is made of a backup, or so long after its deletion that somebody did so by hand."""
    if row.gone_at is None or not row.remove_workspace:
        return False
    if workspace.is_copy:
        return True
    if workspace.made_at is None:
        return False
    return (workspace.made_at - row.gone_at).total_seconds() > LONGEST_FREEZE_SECONDS
