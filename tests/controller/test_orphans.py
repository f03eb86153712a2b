"""The sweep's own memory, which the observer changes while rows are read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

from cmbcluster.controller.orphans import Orphans
from cmbcluster.controller.recorder import Recorder
from cmbcluster.db.models import Environment
from cmbcluster.domain.lifecycle import Desired, Phase
from cmbcluster.runtime.port import Observation, Ref, Sight
from tests.fakes.runtime import FakeRuntime

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class _Reading:
    """Rows that are read while something else happens."""

    def __init__(self, row: Environment) -> None:
        self.row = row
        self.orphans: Orphans | None = None
        self.asked = 0

    async def load(self, environment_id: UUID) -> tuple[Environment, datetime]:
        """The row; meanwhile the run goes away."""
        assert self.orphans is not None
        self.asked += 1
        self.orphans.notice(Observation(Ref(environment_id, self.row.slug, 1), Sight.ABSENT, NOW))
        return self.row, NOW


async def test_a_run_that_goes_away_while_its_row_is_read_ends_no_sweep() -> None:
    values: dict[str, Any] = {"id": uuid4(), "slug": "lab-k7q2mx", "run": 1, "generation": 1, "observed_generation": 1}
    row = Environment(**values, desired=Desired.RUNNING.value, phase=Phase.RUNNING.value)
    reading = _Reading(row)
    orphans = reading.orphans = Orphans(cast(Recorder, reading), FakeRuntime())
    orphans.notice(Observation(Ref(row.id, row.slug, 1), Sight.RUNNING, NOW))
    await orphans.sweep()
    await orphans.sweep()
    assert reading.asked == 1
