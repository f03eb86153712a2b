"""Controllers are killed at every step of launch, stop, start and delete, on the cluster, and others go on (F1).

A step is armed once for all environments of an act: whoever comes there first is killed, the one that waited takes
the lease, finds what is there, and gets as far as the next armed step. At the end of each act everything must be
what was asked for, once. The end of the test says which steps exist: a new one that is not armed here fails it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cmbcluster.controller.checkpoints import Checkpoint
from tests.fakes.runtime import FakeRuntime
from tests.faults.asking import QUIET_SECONDS, Person, Scene, persons, scene
from tests.faults.controllers import Crew
from tests.faults.found import rows_of
from tests.faults.ledger import Act
from tests.faults.replicas import Shared, activity_of
from tests.kubernetes.cluster import until_true

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

LAUNCH = (
    Checkpoint.RESOLUTION_RECORDED, Checkpoint.BEFORE_LOCK_KEPT, Checkpoint.LOCK_KEPT, Checkpoint.BEFORE_START,
    "created_workspaces", "created_packages", "created_configmaps", "created_secrets", "created_pods",
    Checkpoint.STARTED, Checkpoint.BEFORE_RUNNING_RECORDED, Checkpoint.RUNNING_RECORDED,
)  # fmt: skip
STOP = (
    Checkpoint.BEFORE_STOP, "patched_workspaces", "deleted_secrets", "deleted_pods", Checkpoint.STOP_ASKED,
    Checkpoint.STOPPING_RECORDED, Checkpoint.BEFORE_STOPPED_RECORDED,
)  # fmt: skip
START = ("created_secrets", "created_pods", Checkpoint.STARTED)
KEEP = (Checkpoint.DELETING_RECORDED, "patched_workspaces", Checkpoint.REMOVED)
REMOVE = (Checkpoint.DELETING_RECORDED, "deleted_workspaces", Checkpoint.REMOVED)
# Of a run that ended by itself, secret and pod are there until it is started again or deleted.
START_OVER = ("deleted_secrets", "deleted_pods", "created_secrets", "created_pods")
REMOVE_OVER = ("deleted_secrets", "deleted_pods", "deleted_workspaces")
WARN = (Checkpoint.BEFORE_WARNING, Checkpoint.WARNED)
DEADLINE = (Checkpoint.BEFORE_DEADLINE_STOP, Checkpoint.DEADLINE_STOP_ASKED)
ALL = {*LAUNCH, *STOP, *START, *KEEP, *REMOVE, *START_OVER, *REMOVE_OVER, *WARN, *DEADLINE}
# Many of them die, so that the next one should not be long in coming.
ONE_AT_A_TIME = {"CMB_CONTROLLER_WORKERS": "1", "CMB_CONTROLLER_LEASE_SECONDS": "0.4"}


@pytest.fixture
async def played(tmp_path: Path, url: str, own_namespace: str) -> AsyncIterator[Scene]:
    """One environment is looked at after the other, so that a kill meets one of them."""
    async with scene(Crew(tmp_path, url, own_namespace, settings=ONE_AT_A_TIME)) as made:
        yield made


async def met(played: Scene, steps: tuple[str, ...]) -> None:
    """Wait until somebody was killed at each of them, and all is quiet again."""
    killed, armed = played.crew.killed, len(steps)
    try:
        await until_true(lambda: not played.crew.armed(), QUIET_SECONDS)
    except AssertionError:
        raise AssertionError(f"nobody came to {played.crew.armed()}") from None
    since = time.monotonic()
    await until_true(lambda: played.crew.killed >= killed + armed)
    await played.until_quiet()
    print(f"{armed} kills, quiet {time.monotonic() - since:.1f} s after the last")


async def test_f1_killed_at_every_step_on_the_cluster(played: Scene, tmp_path: Path) -> None:
    async with Shared(played.url, tmp_path / "web", FakeRuntime()).replica() as parts, played.crew.manned():
        first, second, third, fourth = await persons(parts, played.ledger, "first", "second", "third", "fourth")

        async def ask(act: Act, *whom: Person, steps: tuple[str, ...] = ()) -> None:
            played.crew.arm(steps)
            for each in whom:
                assert await each.ask(act)
            await met(played, steps)
            assert await played.wrong() == []

        await ask("launch", first, second, third, fourth, steps=LAUNCH)
        await ask("stop", first, second, third, fourth, steps=STOP)
        await ask("start", first, second, steps=START)
        await ask("keep", third, steps=KEEP)
        await ask("remove", first, fourth, steps=REMOVE)
        await by_itself(played, second)
    assert {*Checkpoint, *played.crew.writes()} == ALL


async def by_itself(played: Scene, person: Person) -> None:
    """What nobody asks for: the program's end, warnings and the deadline."""
    assert person.id is not None
    services, name = person.parts.environments, person.name

    async def end() -> None:
        row = await played.row(name)
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient() as client:
                await client.get(f"http://{row['endpoint_host']}:{row['endpoint_port']}/end")
        await until_true(lambda: is_in("stopped"))

    async def is_in(phase: str) -> bool:
        return bool((await played.row(name))["phase"] == phase)

    await end()
    played.crew.arm(START_OVER)
    await services.start(person.actor, person.id)
    await met(played, START_OVER)
    assert await is_in("running")
    for left_seconds, steps in ((600, WARN), (0, DEADLINE)):
        played.crew.arm(steps)
        change = "UPDATE environments SET running_since = now() - make_interval(secs => 3600 - $1) WHERE id = $2"
        await played.sql(change, left_seconds, person.id)
        # Who runs relies on the time that it knew; who begins looks at it.
        played.crew.kill()
        await met(played, steps)
    assert ((row := await played.row(name))["phase"], row["reason_code"]) == ("stopped", "deadline")
    told = await activity_of(person.parts.database, person.actor, person.id)
    assert told.count("warned") == 1
    await services.start(person.actor, person.id)
    await until_true(lambda: is_in("running"))
    await end()
    played.crew.arm(REMOVE_OVER)
    await services.delete(person.actor, person.id, typed_name=name, remove_workspace=True)
    await met(played, REMOVE_OVER)
    assert await played.wrong(name) == []
    assert not [row for row in await rows_of(played.url) if row["phase"] not in ("stopped", "gone")]
