"""A controller is frozen in the middle of its work, another takes over on the cluster, and the first wakes up (F8).

It is frozen by SIGSTOP at a step, and wakes when what it was about to do is not wanted any more. What it does before
it learns that its lease is over must harm nothing, and must not stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from cmbcluster.controller.checkpoints import Checkpoint
from cmbcluster.wiring import Parts
from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import QUIET_SECONDS, Person, Scene, persons, scene
from tests.faults.controllers import Crew, is_frozen
from tests.faults.lengths import lasting
from tests.faults.replicas import Shared, activity_of
from tests.kubernetes.cluster import until_true

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
LOST = '"lease_lost"'
# For what a controller that has just woken may have begun.
AWAKE_SECONDS = 1.5
EXPIRING = round(lasting(15, full=60))


@pytest.fixture
async def played(tmp_path: Path, url: str, own_namespace: str) -> AsyncIterator[Scene]:
    """Two controllers, of which one works."""
    async with scene(Crew(tmp_path, url, own_namespace)) as made:
        yield made


@pytest.fixture
async def parts(played: Scene, tmp_path: Path) -> AsyncIterator[Parts]:
    """What people ask."""
    async with Shared(played.url, tmp_path / "web", FakeRuntime()).replica() as made:
        yield made


@asynccontextmanager
async def frozen_at(played: Scene, step: str, *except_for: str) -> AsyncIterator[None]:
    """Within, whoever came to the step first is frozen and another works; both do for a while at the end.

    Of some environments the ledger does not know how they ended.
    """
    crew, lost = played.crew, played.crew.told().count(LOST)
    crew.arm([step], SIGSTOP)
    yield
    frozen = [each for each in crew.working if is_frozen(each)]
    assert len(frozen) == 1
    crew.signal(frozen[0], SIGCONT)
    await until_true(lambda: crew.told().count(LOST) > lost)
    await asyncio.sleep(AWAKE_SECONDS)
    await played.until_quiet()
    await played.until_right(*except_for)


async def until_frozen(played: Scene) -> None:
    """Wait for the one that comes to the step."""
    await until_true(lambda: any(is_frozen(each) for each in played.crew.working), QUIET_SECONDS)


async def test_f8_a_holder_that_is_frozen_and_wakes_on_the_cluster(played: Scene, parts: Parts) -> None:
    names = ("launched", "stopped", "begun", "gone", "again")
    launched, stopped, begun, gone, again = await persons(parts, played.ledger, *names)
    async with played.crew.manned():
        async with frozen_at(played, "creating_pods"):
            assert await launched.ask("launch")
            assert await again.ask("launch")
            await until_frozen(played)
            await played.until_quiet()
        async with frozen_at(played, "creating_pods"):
            assert await stopped.ask("launch")
            await until_frozen(played)
            assert await stopped.ask("stop")
            await played.until_quiet()
        async with frozen_at(played, "deleting_pods"):
            assert await again.ask("stop")
            await until_frozen(played)
            await played.until_quiet()
            assert await again.ask("start")
            await played.until_quiet()
        async with frozen_at(played, "creating_secrets"):
            assert await begun.ask("launch")
            await until_frozen(played)
            await played.until_quiet()
            assert await begun.ask("remove")
            await played.until_quiet()
        async with frozen_at(played, "creating_workspaces"):
            assert await gone.ask("launch")
            await until_frozen(played)
            assert await gone.ask("remove")
            await played.until_quiet()
    assert played.crew.killed == 0


async def test_f8_deadlines_of_many_while_a_holder_is_frozen_on_the_cluster(played: Scene, parts: Parts) -> None:
    names = [f"expires-{number}" for number in range(EXPIRING)]
    everybody = await persons(parts, played.ledger, *names)
    async with played.crew.manned():
        for each in everybody:
            assert await each.ask("launch")
        await played.until_quiet()
        for left_seconds, step, kind in (
            (600, Checkpoint.BEFORE_WARNING, "warned"),
            (0, Checkpoint.BEFORE_DEADLINE_STOP, "stopped"),
        ):
            async with frozen_at(played, step, *names):
                await played.sql("UPDATE environments SET running_since = now() - make_interval(secs => $1)",
                                 3600 - left_seconds)  # fmt: skip
                # Who runs relies on the times that it knew; who begins looks at them.
                played.crew.kill()
                await until_frozen(played)
                await until_true(partial(_have_had, everybody, kind), QUIET_SECONDS)
    rows = [await played.row(name) for name in names]
    assert [(row["phase"], row["reason_code"], row["run"]) for row in rows] == [("stopped", "deadline", 1)] * EXPIRING
    for each in everybody:
        assert each.id is not None
        told = await activity_of(parts.database, each.actor, each.id)
        # Each was warned once and stopped once, whoever did so.
        assert told == ["launched", "running", "warned", "stopped"]
    assert await played.admin.names("pods") == set()


async def _have_had(everybody: Sequence[Person], kind: str) -> bool:
    """Whether this has happened to all of them."""
    for each in everybody:
        assert each.id is not None
        if kind not in await activity_of(each.parts.database, each.actor, each.id):
            return False
    return True
