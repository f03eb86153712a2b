"""One populated platform for a module's tests; each test finds it as it was made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cmbcluster.wiring import set_parts
from tests.platform import open_platform
from tests.security.actors import World, populate
from tests.security.digests import copy_of


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def populated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everybody, with what is theirs. Takes a second to make, so it is made once."""
    folder = tmp_path_factory.mktemp("world")
    async with open_platform(folder) as platform:
        world = await populate(platform)
        copy_of(folder / "cmbcluster.db", folder / "as-made.db")
        yield world


@pytest.fixture
def world(populated: World) -> AsyncIterator[World]:
    """The world, put back afterwards."""
    set_parts(populated.platform.parts)
    yield populated
    set_parts(None)
    copy_of(database_file(populated).with_name("as-made.db"), database_file(populated))


def database_file(world: World) -> Path:
    """Where the world is kept."""
    return world.platform.parts.settings.data_dir / "cmbcluster.db"
