"""The platform's own services and controller over a real cluster: what people read at every turn."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from cmbcluster.controller.controller import Controller
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import Phase, Stage, StopReason
from cmbcluster.domain.orders import CustomOrder, LaunchOrder
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.wiring import Parts, close_parts, open_parts
from tests.kubernetes.cluster import PYTHON, Admin, settings_for, until_true

pytestmark = [pytest.mark.kubernetes, pytest.mark.index]
# It serves the folder it is in, which is the workspace.
ORDER = CustomOrder("idna", PYTHON, "", "python -u -m http.server {port} --bind {address}", "8501")


@pytest.fixture
async def parts(namespace: str, index_url: str, shared_folder: Path) -> AsyncIterator[Parts]:
    """Everything of one process, as `cmbcluster up` opens it, with its controller."""
    settings = settings_for(namespace, package_index_url=index_url, data_dir=shared_folder)
    opened = await open_parts(settings)
    controller = Controller(opened)
    await controller.open()
    try:
        yield opened
    finally:
        await controller.close()
        await close_parts()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder the account that resolves packages can pass."""
    folder = Path(tempfile.mkdtemp(prefix="cmb-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "data"
    shutil.rmtree(folder)


async def signed_in(parts: Parts) -> Actor:
    token = await parts.sessions.sign_in(DevelopmentIdentity().sign_in("ada"), browser="pytest", address="127.0.0.1")
    actor = await parts.sessions.find(token)
    assert actor is not None
    return actor


async def until_phase(parts: Parts, actor: Actor, view: EnvironmentView, *phases: Phase) -> EnvironmentView:
    async def reached() -> EnvironmentView | None:
        now = await parts.environments.get(actor, view.id)
        return now if now.phase in phases else None

    found: EnvironmentView = await until_true(reached, 120)
    return found


async def test_a_life_from_a_click_to_nothing_left(parts: Parts, admin: Admin) -> None:
    actor = await signed_in(parts)
    asked = await parts.environments.launch(actor, LaunchOrder("custom", "life", "small", 3600, ORDER))
    running = await until_phase(parts, actor, asked, Phase.RUNNING, Phase.FAILED)
    assert running.phase is Phase.RUNNING, running.reason
    assert {Stage.SCHEDULING, Stage.INSTALLING, Stage.STARTING, Stage.PORT} <= {s.stage for s in running.stages}
    assert running.protection is not None
    assert running.protection.level == "pod"
    async with parts.database.reading() as work:
        row = await work.environments.by_id(asked.id)
    assert row is not None
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://{row.endpoint_host}:{row.endpoint_port}/")).status_code == 200

    await parts.environments.stop(actor, asked.id)
    stopped = await until_phase(parts, actor, asked, Phase.STOPPED, Phase.FAILED)
    assert stopped.reason is not None
    assert (stopped.phase, stopped.reason.code) == (Phase.STOPPED, StopReason.ASKED)
    assert await admin.pod(asked.slug) is None

    await parts.environments.start(actor, asked.id)
    await until_phase(parts, actor, asked, Phase.RUNNING, Phase.FAILED)
    await admin.delete_pod(asked.slug)
    failed = await until_phase(parts, actor, asked, Phase.FAILED, Phase.STOPPED)
    assert failed.reason is not None
    assert (failed.reason.code, failed.reason.what) == (StopReason.TAKEN_AWAY, "Somebody deleted it in the cluster.")

    await parts.environments.start(actor, asked.id)
    await until_phase(parts, actor, asked, Phase.RUNNING, Phase.FAILED)
    await parts.environments.delete(actor, asked.id, typed_name="life", remove_workspace=True)

    async def is_gone() -> bool:
        kinds = ("pods", "persistentvolumeclaims", "secrets")
        left = [await admin.names(kind) for kind in kinds]
        return not any(asked.slug in name for found in left for name in found)

    await until_true(is_gone, 60)
