"""The stage as the parts of the process, and states whose tab belongs to one of its people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reflex as rx

from cmbcluster import wiring
from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.settings import Settings
from tests.web.stage import Platform


@pytest.fixture
def stage() -> Iterator[Platform]:
    """A platform in memory, open while the test runs."""
    platform = Platform(ending=True)
    wiring.set_parts(platform.shape(Settings(_env_file=None)))
    yield platform
    wiring.set_parts(None)


@pytest.fixture
def tab(stage: Platform) -> Callable[..., Any]:
    """Opens a tab: the root of a state tree with a person's cookie and an address."""

    def open_tab(person: str = "elena", path: str = "/") -> Any:
        # The types of Reflex do not know what its constructor takes.
        make: Any = rx.State
        root = make(_reflex_internal_init=True)
        cookie = f"{SESSION_COOKIE}={person}" if person else ""
        data = {
            "headers": {"cookie": cookie, "origin": "http://localhost:8200"},
            "token": f"client-{person}",
            "pathname": path.partition("?")[0],
            "asPath": path,
        }
        root._update_router_vars(data, {})
        return root

    return open_tab
