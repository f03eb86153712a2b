"""Databases of the fault tests."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from tests.faults.replicas import seeded
from tests.kubernetes.cluster import make_namespace, remove_namespace
from tests.postgres import Databases


@pytest.fixture
async def url(postgres: Databases) -> AsyncIterator[str]:
    """The address of a migrated database on a real PostgreSQL."""
    made = await postgres.make()
    yield made
    await postgres.drop(made)


@pytest.fixture
def chance() -> random.Random:
    """The test's chance; its seed is printed."""
    return seeded()


@pytest.fixture
async def own_namespace() -> AsyncIterator[str]:
    """A namespace on the cluster in which nothing is but what the test makes."""
    name = await make_namespace()
    yield name
    await remove_namespace(name)
