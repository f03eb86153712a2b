"""What all tests share: no surprise skips, and a platform on fakes with a clock that jumps."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.platform import Platform
    from tests.postgres import Databases

# What asserts for several test modules, and says no more than that it did not hold unless this is said.
pytest.register_assert_rewrite("tests.install.own_image", "tests.faults.asking")
NEEDED = {
    "sandbox": (("bwrap", "pasta"), "needs bubblewrap and passt: apt-get install bubblewrap passt"),
    "browser": (("chromium",), "needs Chromium: apt-get install chromium"),
}

# What tells tests/kubernetes where a cluster is, what it has, and where its pods find this machine.
CLUSTER = ("KUBECONFIG", "CMB_TEST_WORKSPACE_IMAGE", "CMB_TEST_NODE_ADDRESS")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the machine cannot do, with the reason; CI sets CMB_REQUIRE_ALL and skips nothing.

    CMB_WITHOUT_CLUSTER says that there is no cluster to be had, whatever else is required.
    """
    all_required = bool(os.environ.get("CMB_REQUIRE_ALL"))
    cluster_required = all_required and not os.environ.get("CMB_WITHOUT_CLUSTER")
    for item in items:
        for mark, (tools, reason) in NEEDED.items():
            if not all_required and item.get_closest_marker(mark) and not all(shutil.which(tool) for tool in tools):
                item.add_marker(pytest.mark.skip(reason=reason))
        if cluster_required:
            continue
        missing = [name for name in CLUSTER if not os.environ.get(name)]
        if missing and item.get_closest_marker("kubernetes"):
            item.add_marker(pytest.mark.skip(reason=f"needs a cluster: set {', '.join(missing)}"))


# Tests that take ``database_url`` run on both.
BOTH = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """Databases on a real PostgreSQL, which is started when none is named."""
    from tests.postgres import MISSING, available, databases

    if not available():
        if os.environ.get("CMB_REQUIRE_ALL"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with databases() as made:
        yield made


@pytest.fixture(params=BOTH)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a database with the newest schema: SQLite's file, then a real PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'cmbcluster.db'}"
        return
    made: Databases = request.getfixturevalue("postgres")
    url = await made.make()
    try:
        yield url
    finally:
        await made.drop(url)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """Services and controller over a real SQLite file and the fake runtime."""
    # Imported here, so that tests of single rooms do not load the whole house.
    from tests.platform import open_platform

    async with open_platform(tmp_path) as opened:
        yield opened
