"""Two controllers at work on the same environments and the same cluster, with no lease at all (F9)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import Person, days, persons, scene
from tests.faults.controllers import Crew
from tests.faults.ledger import read
from tests.faults.lengths import lasting
from tests.faults.replicas import Shared, activity_of

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
PEOPLE = 6
SECONDS = lasting(14, full=120)


async def test_f9_two_controllers_without_a_lease_on_the_cluster(
    tmp_path: Path, url: str, own_namespace: str, chance: random.Random
) -> None:
    async with (
        scene(Crew(tmp_path, url, own_namespace, leased=False)) as played,
        Shared(url, tmp_path / "web", FakeRuntime()).replica() as parts,
        played.crew.manned(),
    ):
        everybody = await persons(parts, played.ledger, *(f"p{number}" for number in range(PEOPLE)))
        done = await asyncio.gather(*(days(each, random.Random(chance.random()), SECONDS) for each in everybody))  # noqa: S311
        await played.until_quiet()
        await played.until_right()
        for each in (person for persons_environments in done for person in persons_environments):
            await _told_once(each)
        both = [log for log in tmp_path.glob("controller-*.log") if '"phase"' in log.read_text()]
        assert len(both) == 2, "one of them wrote nothing"
        ends = Counter(f"{line.act} {line.event}" for line in read(played.notes) if line.event != "invoke")
        print(dict(ends))
        assert sum(ends.values()) >= 3 * PEOPLE
        assert played.crew.killed == 0


async def _told_once(person: Person) -> None:
    """Nothing failed, and each run is told to have begun and to have ended at most once."""
    if person.id is None:
        return
    async with person.parts.database.reading() as work:
        row = await work.environments.by_id(person.id)
    assert row is not None
    kinds = Counter(await activity_of(person.parts.database, person.actor, person.id))
    assert "failed" not in kinds
    assert kinds["running"] <= row.run
    assert kinds["stopped"] + kinds["cancelled"] <= row.run
