"""Every event handler that the platform registers, and what its arguments are.

A handler that is not here fails the test with its name: whoever adds one says here what a
stranger could put into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ENVIRONMENT, SESSION, TOKEN, APPLICATION, COMMAND, TEXT, FLAG, FORM, OTHER = (
    "environment", "session", "token", "application", "command", "text", "flag", "form", "other",
)  # fmt: skip

# State and handler, as they end their registered names.
OURS: dict[str, dict[str, str]] = {
    "acts.start": {"raw_id": ENVIRONMENT, "size": TEXT},
    "acts.stop": {"raw_id": ENVIRONMENT},
    "acts.extend": {"raw_id": ENVIRONMENT},
    "acts.update": {"raw_id": ENVIRONMENT},
    "acts.run": {"command": COMMAND},
    "acts.ask_delete": {"raw_id": ENVIRONMENT},
    "acts.close_delete": {"is_open": FLAG},
    "acts.delete": {"form": FORM},
    "launch.begin": {"application_id": APPLICATION},
    "launch.close": {"is_open": FLAG},
    "launch.check": {"name": TEXT, "value": TEXT},
    "launch.order": {"form": FORM},
    "activity_state.watch": {},
    "catalogue_state.watch": {},
    "detail_state.watch": {},
    "detail_state.check": {"name": TEXT, "value": TEXT},
    "detail_state.rename": {"form": FORM},
    "environments_state.watch": {},
    "home_state.enter": {},
    "home_state.watch": {},
    "settings_state.watch": {},
    "settings_state.rename": {"form": FORM},
    "settings_state.end": {"raw_id": SESSION},
    "settings_state.end_others": {},
    "sharing_state.share": {"form": FORM},
    "sharing_state.withdraw": {"raw_id": OTHER},
    "shell.seen": {},
    "registries_state.ask_remove": {"raw_id": OTHER},
    "registries_state.close_remove": {"is_open": FLAG},
    "registries_state.remove": {"_form": FORM},
    "tokens_state.ask_revoke": {"raw_id": TOKEN},
    "tokens_state.close_revoke": {"is_open": FLAG},
    "tokens_state.revoke": {"_form": FORM},
    "trouble.say": {},
}
# Reflex's own, which it registers whether anybody wants them or not.
REFLEX: dict[str, dict[str, str]] = {
    "state.hydrate": {},
    "state.hydrate_and_load": {"vars": OTHER, "hashes": OTHER},
    "state.set_is_hydrated": {"value": FLAG},
    "state.setvar": {"var_name": OTHER, "value": OTHER},
    "frontend_event_exception_state.handle_frontend_exception": {"info": TEXT, "component_stack": TEXT},
    "on_load_internal_state.on_load_internal": {},
    "on_load_internal_state.set_is_hydrated": {"value": FLAG},
    "update_vars_internal_state.update_vars_internal": {"vars": OTHER},
}
# It is registered once for each state, and must do nothing on any.
SETVAR = "setvar"
MISSING_ID = "00000000-0000-7000-8000-00000000dead"
HOSTILE: tuple[Any, ...] = (
    None,
    0,
    -1,
    1e308,
    True,
    [],
    ["x"],
    {},
    {"a": {"b": {"c": [{"d": "e"}]}}},
    "",
    "x" * 100_000,
    "\x00\r\n\x1b[31mred",
    "../../etc/passwd",
    "' or 1=1 --",
)
FORM_FIELDS = (
    "name", "size", "uptime", "content", "requirements", "image", "python", "command", "port", "workspace", "typed_name"
)  # fmt: skip


def ending(registered: str) -> str:
    """``reflex___state____state.cmbcluster___web___acts____acts.stop`` ends as ``acts.stop``."""
    state, _, handler = registered.rpartition(".")
    return f"{state.rpartition('.')[2].rpartition('____')[2]}.{handler}"


@dataclass(frozen=True)
class Named:
    """The objects that a client names."""

    environment: str = MISSING_ID
    session: str = MISSING_ID
    token: str = MISSING_ID


def well_formed(kind: str, named: Named) -> Any:
    """A value that a page could send, about these objects."""
    return {
        ENVIRONMENT: named.environment,
        SESSION: named.session,
        TOKEN: named.token,
        APPLICATION: "custom",
        COMMAND: f"stop:{named.environment}",
        TEXT: "name",
        FLAG: True,
        FORM: {"name": "taken-over", "typed_name": "victim", "workspace": "remove"},
        OTHER: "x",
    }[kind]


# Longer than any field may be, and short enough for all fields of a form in one message.
FIELD_CHARACTERS = 20_000


def payloads(arguments: dict[str, str], others: Named) -> Iterator[Any]:
    """What a hostile client sends to one handler: about others' and missing things, and nonsense."""
    yield {name: well_formed(kind, others) for name, kind in arguments.items()}
    yield {name: well_formed(kind, Named()) for name, kind in arguments.items()}
    yield {}
    yield {"no_such_argument": others.environment}
    yield from ([others.environment], others.environment, 7)
    for value in HOSTILE:
        if arguments:
            yield dict.fromkeys(arguments, value)
        for name, kind in arguments.items():
            if kind == FORM:
                # A message above a megabyte ends its socket, and with it all that this client still has to try.
                short = value[:FIELD_CHARACTERS] if isinstance(value, str) else value
                yield {name: dict.fromkeys(FORM_FIELDS, short)}
