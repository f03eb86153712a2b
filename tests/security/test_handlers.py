"""Every registered event handler, called over the wire by somebody who has no business there."""

from __future__ import annotations

import inspect
import json

import pytest
from reflex_base.registry import RegistrationContext

import cmbcluster.web.application  # noqa: F401 - registers every state
from tests.e2e.conftest import Started
from tests.security.handlers import MISSING_ID, OURS, REFLEX, SETVAR, ending, payloads
from tests.security.hostile import HYDRATE, cookie_of, hostile
from tests.security.victims import Victim, theirs

REGISTERED = RegistrationContext.get().event_handlers
SENT_AWAY = "/?next=%2Fenvironments%2F"
TRACES = ("Traceback", '.py\\"', ".py, line", "sqlalchemy", "sqlite3")


def arguments_of(registered: str) -> dict[str, str]:
    """What the table says about a handler."""
    short = ending(registered)
    return REFLEX["state.setvar"] if short.endswith(f".{SETVAR}") else (OURS | REFLEX)[short]


def test_every_handler_is_listed() -> None:
    found = {ending(name) for name in REGISTERED if not name.endswith(f".{SETVAR}")} | {"state.setvar"}
    listed = OURS.keys() | REFLEX.keys()
    # Handlers that other tests in this process registered are theirs.
    found = {short for short in found if not short.startswith("test_")}
    assert found == listed, f"unlisted: {found - listed}; gone: {listed - found}"


@pytest.mark.parametrize("name", [name for name in REGISTERED if not name.endswith(f".{SETVAR}")])
def test_the_table_knows_the_arguments(name: str) -> None:
    parameters = list(inspect.signature(REGISTERED[name].handler.fn).parameters)[1:]
    assert parameters == list(arguments_of(name))


def call_all(up: Started, cookie: str, victim: Victim, expected: str) -> str:
    """Everything that the server says to somebody who calls every handler in every wrong way."""
    foreign = f"/environments/{victim.environment_id}?tab=activity"
    missing = f"/environments/{MISSING_ID}?from=-1&tab=activity"
    with hostile(up.url, cookie) as client:
        client.send(HYDRATE)
        client.listen(0.3)
        for name in REGISTERED:
            for payload in payloads(arguments_of(name), victim.named):
                client.send(name, payload, foreign)
            if not arguments_of(name):
                client.send(name, {}, missing)
            client.listen(0.05)
        # A busy machine is silent for some seconds before it has begun to answer.
        client.until(expected, 60.0)
        said = client.listen(4.0, longest_seconds=60.0)
        assert client.connected, "what was sent last was not heard"
        return said


@pytest.mark.parametrize("who", ["anonymous", "ada", "elena", "ravi"])
def test_nobody_gets_at_what_is_somebody_elses(up: Started, victims: dict[str, Victim], who: str) -> None:
    victim = victims["ada" if who == "elena" else "elena"]
    before, printed = theirs(up.data, victim), len(up.log.read_text())
    # It is heard: who is signed in is told of each refusal in words, anybody else is sent away.
    expected = SENT_AWAY if who == "anonymous" else "There is no such environment, or it is not yours."
    said = call_all(up, "" if who == "anonymous" else cookie_of(up.url, who), victim, expected)
    assert expected in said
    assert ('"who_rx_state_": "in"' in said) is (who != "anonymous")
    for mark in victim.marks:
        assert mark not in said, f"{who} was shown {mark}: …{said[max(0, said.find(mark) - 300) :][:600]}…"
    for trace in TRACES:
        assert trace not in said, said[max(0, said.find(trace) - 300) :][:600]
    assert theirs(up.data, victim) == before
    # Nor may nonsense make a handler raise: each such line of a stranger's would be a traceback in the log.
    assert "An event handler failed" not in up.log.read_text()[printed:]
    if who == "anonymous":
        told = {state for line in said.splitlines() for state in json.loads(line)[1].get("delta", {})}
        assert {name.rpartition("____")[2] for name in told} <= {"state", "shell", "front_state", "trouble"}
