"""What the tier of an environment's owner says about where it may run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.platform import open_platform


@pytest.mark.parametrize(("person", "internet"), [("ada", False), ("elena", True)])
async def test_environments_of_an_offline_tier_are_started_without_the_internet(
    tmp_path: Path, database_url: str, person: str, internet: bool
) -> None:
    settings = {"database_url": database_url, "kubernetes_offline_tiers": ("free",)}
    async with open_platform(tmp_path, **settings) as platform:
        await platform.running(await platform.sign_in(person))
        assert [spec.placement.internet for spec in platform.runtime.starts] == [internet]


async def test_without_offline_tiers_everybody_has_it(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as platform:
        await platform.running(await platform.sign_in("ada"))
        assert [spec.placement.internet for spec in platform.runtime.starts] == [True]
