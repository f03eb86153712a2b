"""One namespace for the whole session, with packages installed in it once; it is removed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from cmbcluster.runtime.kubernetes import ending_rules, hopeless_rules
from tests.kubernetes.cluster import Admin, admin_of, make_namespace, remove_namespace
from tests.kubernetes.mirror import mirrored

NAMES = {
    "hopeless": {rule.name for rule in hopeless_rules.RULES},
    "ended": {rule.name for rule in (*ending_rules.RULES, ending_rules.DELETED)},
}


@pytest.fixture(scope="session")
def namespace() -> Iterator[str]:
    """A namespace that Pod Security restricts."""
    name = asyncio.run(make_namespace())
    yield name
    asyncio.run(remove_namespace(name))


@pytest.fixture
def own_namespace() -> Iterator[str]:
    """A namespace for limits of its own, or for what others rely on."""
    name = asyncio.run(make_namespace())
    yield name
    asyncio.run(remove_namespace(name))


@pytest.fixture(autouse=True)
def rules_are_heard(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whoever names rules of hopeless launches, or of endings, has to bring each of them up, and no other."""
    caplog.set_level("INFO", "cmbcluster.runtime.kubernetes.runtime")
    yield
    heard = {getattr(record, "rule", None) for record in caplog.get_records("call")} - {None}
    for mark in ("hopeless", "ended"):
        named = {each.args[0] for each in request.node.iter_markers(mark)}
        if named:
            assert heard & NAMES[mark] == named


@pytest.fixture
async def admin(namespace: str) -> AsyncIterator[Admin]:
    """An administrator of that namespace."""
    async with admin_of(namespace) as opened:
        yield opened


@pytest.fixture
async def own_admin(own_namespace: str) -> AsyncIterator[Admin]:
    """An administrator of a namespace that a test has for itself."""
    async with admin_of(own_namespace) as opened:
        yield opened


@pytest.fixture(scope="session")
def index_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The package index as pods reach it."""
    with mirrored(tmp_path_factory.mktemp("mirror")) as url:
        yield url
