"""Runs that no row wants: older runs and those of a row at rest are stopped, unknown ones only after a grace.

A run without a row may belong to a database that is being restored, so it is seen twice
and for ten minutes before it is stopped, and its workspace is never removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog

from cmbcluster.controller.recorder import Recorder
from cmbcluster.db.models import Environment
from cmbcluster.domain.lifecycle import AT_REST
from cmbcluster.errors import Conflict
from cmbcluster.runtime.port import Observation, Ref, Runtime, Sight

log = structlog.get_logger("cmbcluster.controller")

GRACE_SECONDS = 600.0
OVER = frozenset({Sight.ABSENT, Sight.EXITED})


@dataclass
class _Sighting:
    first_at: datetime
    times: int = 1


class Orphans:
    """Remembers what was seen, and looks through it at every sweep."""

    def __init__(self, recorder: Recorder, runtime: Runtime) -> None:
        self._recorder = recorder
        self._runtime = runtime
        self._seen: dict[Ref, Observation] = {}
        self._unknown: dict[Ref, _Sighting] = {}

    def notice(self, observation: Observation) -> None:
        """Remember the newest observation of a run; what is over needs no remembering."""
        if observation.sight in OVER:
            self._seen.pop(observation.ref, None)
            self._unknown.pop(observation.ref, None)
        else:
            self._seen[observation.ref] = observation

    async def sweep(self) -> None:
        """Stop runs that their environment has left behind, and long unknown ones."""
        for ref in list(self._seen):
            row, now = await self._recorder.load(ref.environment_id)
            if row is not None and _is_wanted(row, ref):
                self._unknown.pop(ref, None)
                continue
            if row is not None:
                await self._stop(ref, "left_behind")
                continue
            sighting = self._unknown.setdefault(ref, _Sighting(now, 0))
            sighting.times += 1
            if sighting.times >= 2 and (now - sighting.first_at).total_seconds() >= GRACE_SECONDS:
                await self._stop(ref, "unknown")

    async def _stop(self, ref: Ref, why: str) -> None:
        log.warning("orphan_stopped", environment=ref.slug, run=ref.generation, why=why)
        try:
            await self._runtime.stop(ref)
        except Conflict:
            return


def _is_wanted(row: Environment, ref: Ref) -> bool:
    """Whether the row may want the run. One that came to rest never does again: a start makes a new run.

    A controller that was frozen may have started it after another one found it stopped.
    """
    at_rest = row.phase in AT_REST and row.observed_generation == row.generation
    return row.gone_at is None and row.run == ref.generation and not at_rest
