"""What may reach a browser: every variable of every state, and what is built into the script everybody gets."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import reflex as rx
from reflex.state import BaseState
from reflex_base.registry import RegistrationContext
from sqlmodel import SQLModel

import cmbcluster.web.application  # noqa: F401 - registers every state
from cmbcluster.db import models
from cmbcluster.domain import views
from cmbcluster.web.shape import fits
from tests.e2e.conftest import Started
from tests.web.test_access import our_states

SECRET = re.compile(r"secret|password|passwd|cookie|private|sha256|wrapped|signing|bearer", re.IGNORECASE)


def _is_table(member: Any) -> bool:
    return inspect.isclass(member) and issubclass(member, SQLModel) and hasattr(member, "__table__")


def inside(annotation: Any) -> set[type]:
    """Every class that a value of this type can hold."""
    found: set[type] = set()
    for part in typing.get_args(annotation):
        found |= inside(part)
    if isinstance(annotation, type):
        found.add(annotation)
        for each in getattr(annotation, "__dataclass_fields__", {}):
            found |= inside(typing.get_type_hints(annotation)[each])
    return found


@pytest.mark.parametrize("state", list(our_states()), ids=lambda state: state.__name__)
def test_no_variable_holds_a_row_or_a_view_of_a_service(state: type[BaseState]) -> None:
    looked_at = 0
    # What a field holds is set in ways that mypy cannot follow.
    fields: dict[str, Any] = dict(state.get_fields())
    for name, field in fields.items():
        if name not in state.base_vars or name in rx.State.base_vars:
            continue
        looked_at += 1
        for held in inside(field.outer_type_ if hasattr(field, "outer_type_") else field.annotated_type):
            assert not _is_table(held), f"{state.__name__}.{name} can hold a row of {held.__name__}"
            assert held.__module__ != views.__name__, f"{state.__name__}.{name} can hold {held.__name__}"
            for each in (name, *getattr(held, "__dataclass_fields__", {})):
                assert not SECRET.search(each), f"{state.__name__}.{name}: {each}"
    assert looked_at or state.__name__ in ("Owner", "Trouble")


def test_nothing_is_kept_in_a_browsers_storage() -> None:
    """The guard refuses what comes back from there, since nothing was put there."""
    for state in our_states():
        assert not [name for name in state.base_vars if state._is_client_storage(name)], state.__name__
    update = RegistrationContext.get().event_handlers["reflex___state____state.hydrate_and_load"].handler.fn
    assert not fits(update, {"vars": {"state.x": 1}}, own=False)


def test_no_handler_sets_a_variable_by_itself() -> None:
    names = [name.rpartition(".")[2] for name in RegistrationContext.get().event_handlers]
    assert [name for name in names if name.startswith("set_") and name != "set_is_hydrated"] == []


def test_the_built_script_tells_nothing(up: Started) -> None:
    """Defaults are built into the script that everybody gets: none is a name of ours inside, or a person's."""
    built = "\n".join(
        path.read_text(errors="replace")
        for path in Path(up.data / "frontend").rglob("*")
        if path.suffix in (".js", ".html", ".json") and path.is_file()
    )
    assert len(built) > 100_000
    tables = [member.__tablename__ for _, member in inspect.getmembers(models, _is_table)]
    # Words that are also those of pages cannot be told apart.
    for table in set(tables) - {
        "users",
        "sessions",
        "environments",
        "applications",
        "activity",
        "notices",
        "identities",
    }:
        assert str(table) not in built, table
    for word in (
        "elena@example.org",
        "Elena Marchetti",
        "sqlalchemy",
        "cmbcluster.services",
        "BEGIN PRIVATE",
        "sqlite",
    ):
        assert word not in built, word
    for file in ("tokens.json", "secrets.json"):
        for key in re.findall(r"[A-Za-z0-9_-]{40,}=*", (up.data / "keys" / file).read_text()):
            assert key not in built
