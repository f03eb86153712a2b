"""One populated platform for a module's tests; each test finds it as it was made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cmbcluster.wiring import set_parts
from tests.e2e.conftest import Started, free_port, start_platform, stop_platform
from tests.platform import open_platform
from tests.security.actors import World, populate
from tests.security.digests import copy_of
from tests.security.victims import Victim, settle_in


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def populated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everybody, with what is theirs. Takes a second to make, so it is made once."""
    folder = tmp_path_factory.mktemp("world")
    async with open_platform(folder) as platform:
        world = await populate(platform)
        copy_of(folder / "cmbcluster.db", folder / "as-made.db")
        yield world


@pytest.fixture
def world(populated: World) -> Iterator[World]:
    """The world, put back afterwards."""
    set_parts(populated.platform.parts)
    yield populated
    set_parts(None)
    copy_of(database_file(populated).with_name("as-made.db"), database_file(populated))


def database_file(world: World) -> Path:
    """Where the world is kept."""
    return world.platform.parts.settings.data_dir / "cmbcluster.db"


@pytest.fixture(scope="package")
def up() -> Iterator[Started]:
    """The real platform, edge included, which logs everything that it can log.

    Its database can be taken away: see ``faulty``.
    """
    folder = Path(tempfile.mkdtemp(prefix="cmb-security-"))
    folder.chmod(0o755)
    running = start_platform(
        folder,
        free_port(),
        "tests.security.faulty",
        CMB_LOG_LEVEL="DEBUG",
        # As on a terminal: JSON would hide a forged line by its own quoting.
        CMB_LOG_FORMAT="console",
        CMB_SIGN_INS_PER_MINUTE="1000",
    )
    yield running
    if running.process.poll() is None:
        stop_platform(running)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def victims(up: Started) -> dict[str, Victim]:
    """Two people, each of whom is the other's victim."""
    return {person: settle_in(up, person) for person in ("elena", "ada")}
