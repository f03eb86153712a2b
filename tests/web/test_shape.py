"""What an event must look like before its handler is called."""

from __future__ import annotations

from typing import Any

import pytest
from reflex_base.registry import RegistrationContext

import cmbcluster.web.application  # noqa: F401 - registers every state
from cmbcluster.web.acts import Acts
from cmbcluster.web.shape import fits, is_event

HYDRATE = RegistrationContext.get().event_handlers["reflex___state____state.hydrate_and_load"].handler.fn
FLAG = RegistrationContext.get().event_handlers["reflex___state____state.set_is_hydrated"].handler.fn
START = Acts.event_handlers["start"].fn


@pytest.mark.parametrize(
    "payload", [{}, {"vars": {}, "hashes": None}, {"vars": None, "hashes": ["a1b2"]}, {"vars": {}, "hashes": []}]
)
def test_what_a_page_sends_first_fits(payload: dict[str, Any]) -> None:
    assert fits(HYDRATE, payload, own=False)


@pytest.mark.parametrize(
    "payload",
    [None, [], "x", 7, {"vars": {"state.x": 1}}, {"vars": {"": 1}}, {"vars": "x"}, {"hashes": [1]}, {"more": 1}],
)
def test_what_no_page_sends_does_not(payload: object) -> None:
    assert not fits(HYDRATE, payload, own=False)


def test_a_flag_is_a_flag() -> None:
    assert fits(FLAG, {"value": True}, own=False)
    assert not any(fits(FLAG, payload, own=False) for payload in ({}, {"value": 1}, {"value": "x"}, {"self": 1}))


def test_our_own_handlers_take_any_value_under_the_right_name() -> None:
    values: tuple[object, ...] = (None, [], {}, "x" * 100_000)
    assert all(fits(START, {"raw_id": value}, own=True) for value in values)
    assert not any(fits(START, payload, own=True) for payload in ({}, {"id": "x"}, {"raw_id": 1, "more": 2}, "x"))


@pytest.mark.parametrize(
    "data",
    ["text", 7, None, [], {}, {"name": None}, {"name": ""}, {"name": "x" * 501}, {"name": "a", "payload": 7},
     {"name": "a", "router_data": "x"}, {"payload": {}}],
)  # fmt: skip
def test_what_is_no_event_goes_no_further(data: object) -> None:
    assert not is_event(data)
    assert is_event({"name": "state.hydrate", "payload": {}, "router_data": {}})
