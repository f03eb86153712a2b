"""What goes on while a cluster is disturbed: the same pods run, nothing is called stopped, and pages answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.runtime.kubernetes.names import uid_of
from tests.faults.replicas import activity_of
from tests.kubernetes.cluster import Admin
from tests.kubernetes.whole import Whole

GOES_ON = frozenset({Phase.RUNNING, Phase.UNKNOWN})
Mine = tuple[Actor, EnvironmentView]


@asynccontextmanager
async def going_on(platform: Whole, admin: Admin, *mine: Mine) -> AsyncIterator[set[Phase]]:
    """Within, what runs is never called anything else; afterwards it is the same pod of the same run."""
    before = [(uid_of(await admin.pod(view.slug) or {}), (await platform.ref(view)).generation) for _, view in mine]
    phases: set[Phase] = set()

    async def sample() -> None:
        while True:
            for actor, view in mine:
                phases.add((await platform.parts.environments.get(actor, view.id)).phase)
            await asyncio.sleep(0.1)

    sampling = asyncio.create_task(sample())
    try:
        yield phases
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])
    assert sampling.cancelled(), sampling.exception()
    assert phases <= GOES_ON
    after = [(uid_of(await admin.pod(view.slug) or {}), (await platform.ref(view)).generation) for _, view in mine]
    assert after == before
    for actor, view in mine:
        told = await activity_of(platform.parts.database, actor, view.id)
        assert told == ["launched", "running"]


async def reads_work(platform: Whole, actor: Actor, *views: EnvironmentView) -> None:
    """Lists, single ones and signing in, promptly."""
    since = time.monotonic()
    listed = await platform.parts.environments.page(actor)
    assert {view.id for view in views} <= {row.id for row in listed.rows}
    for view in views:
        assert (await platform.parts.environments.get(actor, view.id)).id == view.id
    assert (await platform.parts.activity.page(actor)).rows
    identity = DevelopmentIdentity().sign_in("elena")
    token = await platform.parts.sessions.sign_in(identity, browser="pytest", address="127.0.0.1")
    assert await platform.parts.sessions.find(token) is not None
    assert time.monotonic() - since < 10
