"""What an event leads to goes to the socket it came over, and to no other that has the tab's token by then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import reflex as rx
from reflex.state import StateUpdate

from cmbcluster.web.application import answer_only_who_asked
from cmbcluster.web.guard import ASKED_OVER

TAB = "a-tab"


class Namespace:
    """Remembers what was given to whom."""

    def __init__(self) -> None:
        self.token_to_sid = {TAB: "first"}
        self.given: list[str] = []

    async def emit_update(self, update: StateUpdate, token: str) -> None:
        self.given.append(self.token_to_sid[token])


@pytest.fixture
def namespace() -> Namespace:
    made = Namespace()
    answer_only_who_asked(cast(rx.App, SimpleNamespace(event_namespace=made)))
    return made


async def _answer(namespace: Any) -> None:
    await namespace.emit_update(update=StateUpdate(), token=TAB)


async def test_the_socket_that_asked_is_answered(namespace: Namespace) -> None:
    ASKED_OVER.set("first")
    await _answer(namespace)
    assert namespace.given == ["first"]


@pytest.mark.parametrize("holder", [{TAB: "thief"}, {}])
async def test_another_socket_with_the_tabs_token_hears_nothing(namespace: Namespace, holder: dict[str, str]) -> None:
    ASKED_OVER.set("first")
    namespace.token_to_sid = holder
    await _answer(namespace)
    assert namespace.given == []


async def test_what_no_event_led_to_is_as_before(namespace: Namespace) -> None:
    await _answer(namespace)
    assert namespace.given == ["first"]
