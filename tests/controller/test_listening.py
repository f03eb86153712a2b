"""The controller's ear: what a ring wakes, and what no ring can break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from cmbcluster.bus.port import Ring
from cmbcluster.controller.controller import Controller
from cmbcluster.errors import DatabaseUnavailable
from cmbcluster.runtime.port import Observation
from tests.platform import open_platform


async def test_a_gap_is_a_look_at_everything_and_nonsense_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_platform(tmp_path, sweep_seconds=1000) as platform:
        elena = await platform.sign_in("elena")
        controller = Controller(platform.parts)
        await controller.open()
        try:
            with monkeypatch.context() as patched:

                async def lost(_: Ring) -> None:
                    return None

                patched.setattr(platform.bus, "publish", lost)
                view = await platform.launch(elena)

            async def away() -> None:
                raise DatabaseUnavailable("away")

            with monkeypatch.context() as patched:
                patched.setattr(controller, "_add_unsettled", away)
                for about in ("nonsense", "", str(uuid4())):
                    await platform.bus.publish(Ring("controller", about))
                await asyncio.sleep(0.1)
            assert not platform.runtime.starts
            await platform.bus.publish(Ring("controller"))
            async with asyncio.timeout(5):
                while not platform.runtime.starts:
                    platform.advance(5)
                    await asyncio.sleep(0.05)
            assert platform.runtime.starts[0].ref.environment_id == view.id
        finally:
            await controller.close()


async def test_what_cannot_be_observed_ends_no_observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmbcluster.controller.controller.OBSERVE_AGAIN_SECONDS", 0.01)
    async with open_platform(tmp_path, sweep_seconds=1000) as platform:
        asked = 0

        async def observe() -> AsyncIterator[Observation]:
            nonlocal asked
            asked += 1
            raise KeyError("containers")
            yield

        monkeypatch.setattr(platform.runtime, "observe", observe)
        controller = Controller(platform.parts)
        await controller.open()
        try:
            async with asyncio.timeout(5):
                while asked < 3:
                    await asyncio.sleep(0.01)
        finally:
            await controller.close()
