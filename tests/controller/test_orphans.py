"""The sweep's own memory, which the observer changes while rows are read."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import cast
from uuid import UUID, uuid4

from cmbcluster.controller.orphans import Orphans
from cmbcluster.controller.recorder import Recorder
from cmbcluster.db.environments import StandingRow
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.runtime.port import Observation, Ref, Sight
from tests.fakes.runtime import FakeRuntime

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class _Reading:
    """Rows that are read while something else happens."""

    def __init__(self, row: StandingRow) -> None:
        self.row = row
        self.orphans: Orphans | None = None
        self.asked = 0

    async def standing(self, environment_ids: Collection[UUID]) -> tuple[dict[UUID, StandingRow], datetime]:
        """The row; meanwhile the run goes away."""
        assert self.orphans is not None
        for environment_id in environment_ids:
            self.asked += 1
            self.orphans.notice(Observation(Ref(environment_id, self.row.slug, 1), Sight.ABSENT, NOW))
        return {self.row.id: self.row}, NOW


async def test_a_run_that_goes_away_while_its_row_is_read_ends_no_sweep() -> None:
    row = StandingRow(uuid4(), "lab-k7q2mx", 1, Phase.RUNNING.value, 1, 1, None, NOW, 3600, 0)
    reading = _Reading(row)
    orphans = reading.orphans = Orphans(cast(Recorder, reading), FakeRuntime())
    orphans.notice(Observation(Ref(row.id, row.slug, 1), Sight.RUNNING, NOW))
    await orphans.sweep()
    await orphans.sweep()
    assert reading.asked == 1
