"""Every handler says who may call it, the guard keeps to it, and nothing in a state is a secret."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import UUID

import pytest
import reflex as rx
from reflex.event import Event
from reflex.state import BaseState, StateUpdate

import cmbcluster.web.application  # noqa: F401 - registers every state
from cmbcluster.web.access import PUBLIC, SIGNED_IN, mark_of
from cmbcluster.web.guard import Guard, Owner, sign_in_path
from cmbcluster.web.trouble import say_away
from tests.web.stage import Platform

OURS = "cmbcluster."
FORBIDDEN_NAMES = re.compile(r"token|secret|password|cookie|digest_key", re.IGNORECASE)


def our_states(root: type[BaseState] = rx.State) -> Iterator[type[BaseState]]:
    for state in root.get_substates():
        if state.__module__.startswith(OURS):
            yield state
        yield from our_states(state)


def our_handlers() -> list[tuple[str, Any]]:
    found = []
    for state in our_states():
        for name, handler in state.event_handlers.items():
            if handler.fn.__module__.startswith(OURS):
                found.append((f"{state.get_full_name()}.{name}", handler.fn))
    return found


def test_there_are_handlers_to_look_at() -> None:
    assert len(our_handlers()) > 20


@pytest.mark.parametrize(("name", "handler"), our_handlers(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_handler_has_a_mark(name: str, handler: Callable[..., Any]) -> None:
    mark = mark_of(handler)
    assert mark in (PUBLIC, SIGNED_IN) or mark.startswith("role:"), f"{name} says nothing about who may call it"


def test_public_handlers_are_the_ones_we_know() -> None:
    public = {name.rsplit("___", 1)[-1] for name, handler in our_handlers() if mark_of(handler) == PUBLIC}
    assert public == {"home_state.enter", "trouble.say"}


def display_value(value: object) -> bool:
    """Words, numbers, and frozen records and lists of them."""
    if value is None or isinstance(value, str | int | float | bool):
        return True
    if isinstance(value, list | tuple):
        return all(display_value(item) for item in value)
    if isinstance(value, dict):
        return all(display_value(item) for pair in value.items() for item in pair)
    if dataclasses.is_dataclass(value) and type(value).__module__.startswith("cmbcluster.web."):
        return all(display_value(getattr(value, f.name)) for f in dataclasses.fields(value))
    return False


@pytest.mark.parametrize("state", list(our_states()), ids=lambda s: s.__name__)
def test_states_hold_words_and_numbers_only(state: type[BaseState]) -> None:
    for name in state.base_vars:
        if name.startswith("rx_router") or name in ("is_hydrated", "router"):
            continue
        assert not FORBIDDEN_NAMES.search(name), f"{state.__name__}.{name}"
        assert display_value(state.get_fields()[name].default_value()), f"{state.__name__}.{name} holds more than words"
    assert not [name for name in state.computed_vars if name not in rx.State.computed_vars], "no computed vars"


def test_sign_in_comes_back_to_our_own_pages_only() -> None:
    assert sign_in_path("/environments?x=1") == "/?next=%2Fenvironments%3Fx%3D1"
    assert sign_in_path("//evil.example/x") == "/"
    assert sign_in_path("https://evil.example") == "/"
    assert sign_in_path("/") == "/"


class AnApp:
    """As much of the application as the guard asks for."""

    loads: ClassVar[list[Any]] = [object()]

    event_namespace = None

    def get_load_events(self, _path: str) -> list[Any]:
        return self.loads


def full_name(state: type[BaseState], handler: str) -> str:
    return f"{state.get_full_name()}.{handler}"


async def ask(root: Any, name: str, **payload: Any) -> StateUpdate | None:
    return await Guard(say_away).preprocess(AnApp(), root, Event(name=name, payload=payload))  # type: ignore[arg-type]


async def test_a_signed_out_tab_gets_no_snapshot(tab: Any) -> None:
    root = tab("")
    update = await ask(root, full_name(rx.State, "hydrate"))
    assert update is not None
    assert list(update.delta) == [rx.State.get_full_name()]
    assert list(update.delta[rx.State.get_full_name()].values()) == [True]


async def test_a_signed_out_tab_is_sent_to_the_front_page(tab: Any) -> None:
    from cmbcluster.web.acts import Acts

    root = tab("", "/environments?phase=running")
    update = await ask(root, full_name(Acts, "stop"), raw_id="x")
    assert update is not None
    assert "next=%2Fenvironments%3Fphase%3Drunning" in str(update.events)


async def test_a_signed_in_tab_is_let_through(tab: Any) -> None:
    from cmbcluster.web.acts import Acts

    assert await ask(tab("elena"), full_name(Acts, "stop"), raw_id="x") is None


async def test_unknown_handlers_and_setvar_end_here(tab: Any) -> None:
    root = tab("elena")
    assert await ask(root, "state.nothing.at_all") is not None
    assert await ask(root, full_name(rx.State, "setvar"), var_name="x", value=1) is not None


async def test_another_persons_tab_is_wiped_before_they_see_it(tab: Any, stage: Platform) -> None:
    from cmbcluster.web.shell import Me, Shell

    root = tab("elena")
    await ask(root, full_name(rx.State, "hydrate"))
    shell = await root.get_state(Shell)
    shell.me = Me(name="Elena Marchetti")
    root._update_router_vars({"headers": {"cookie": "cmb_session=ada"}}, {})
    assert await ask(root, full_name(rx.State, "hydrate")) is None
    assert (await root.get_state(Shell)).me.name == ""
    ada = stage.accounts_by_token["ada"].actor.user_id
    assert UUID((await root.get_state(Owner))._user_id) == ada


async def test_a_visitor_who_knows_a_tabs_token_wipes_it(tab: Any, stage: Platform) -> None:
    from cmbcluster.web.shell import Me, Shell

    root = tab("elena")
    await ask(root, full_name(rx.State, "hydrate"))
    (await root.get_state(Shell)).me = Me(name="Elena Marchetti")
    root._update_router_vars({"headers": {}}, {})
    update = await ask(root, full_name(rx.State, "hydrate"))
    assert update is not None
    assert "Elena" not in str(update.delta)
    assert "Elena" not in str((await root.get_state(Shell)).me)


async def test_an_unknown_visitor_is_told_to_wait_and_shown_nothing(tab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmbcluster.errors import DatabaseUnavailable
    from cmbcluster.web import guard
    from cmbcluster.web.acts import Acts
    from cmbcluster.web.shell import Shell, tell

    root = tab("elena")
    tell(await root.get_state(Shell), "planck is running")

    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("password=hunter2")

    monkeypatch.setattr(guard, "find_actor", away)
    update = await ask(root, full_name(Acts, "stop"), raw_id="x")
    assert update is not None
    assert "Try again in a moment" in str(update.delta)
    assert "planck" not in str(update.delta)
    assert "hunter2" not in str(update.delta)
    assert not update.events
