"""A controller is frozen in the middle of its work, another takes over on the cluster, and the first wakes up (F8).

It is frozen by SIGSTOP at a step, and wakes when what it was about to do is not wanted any more. What it does before
it learns that its lease is over must harm nothing, and must not stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from cmbcluster.wiring import Parts
from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import QUIET_SECONDS, Scene, persons, scene
from tests.faults.controllers import Crew, is_frozen
from tests.faults.replicas import Shared
from tests.kubernetes.cluster import until_true

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
LOST = '"lease_lost"'
# For what a controller that has just woken may have begun.
AWAKE_SECONDS = 1.5


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
async def frozen_at(played: Scene, step: str) -> AsyncIterator[None]:
    """Within, whoever came to the step first is frozen and another works; both do for a while at the end."""
    crew, lost = played.crew, played.crew.told().count(LOST)
    crew.arm([step], SIGSTOP)
    yield
    frozen = [each for each in crew.working if is_frozen(each)]
    assert len(frozen) == 1
    crew.signal(frozen[0], SIGCONT)
    await until_true(lambda: crew.told().count(LOST) > lost)
    await asyncio.sleep(AWAKE_SECONDS)
    await played.until_quiet()
    await played.until_right()


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
