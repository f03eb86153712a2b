"""Real registries, one of each kind for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.images.registries import Served, basic_registry, token_registry


@pytest.fixture(scope="session")
def with_passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with basic_registry(tmp_path_factory.mktemp("registry")) as served:
        yield served


@pytest.fixture(scope="session")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with token_registry(tmp_path_factory.mktemp("token-registry")) as served:
        yield served
