"""The matrix: every actor, every public function of the services, own, somebody else's and missing objects."""

from __future__ import annotations

import dataclasses
import inspect
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from cmbcluster.domain.actors import Actor
from cmbcluster.errors import UserError
from cmbcluster.wiring import Parts
from tests.security.actors import ARRIVALS, Things, World
from tests.security.conftest import database_file
from tests.security.digests import changes, content_of
from tests.security.expectations import (
    ALLOWED,
    ELSEWHERE,
    LINES,
    MISSING,
    NEVER_WAS,
    OTHER,
    OWN,
    WITHOUT_ACTOR,
    Line,
    answers_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")
WHICH = (OWN, OTHER, MISSING)
CALLS = 40
FACTOR, SLACK_SECONDS = 2.0, 0.002


def services(parts: Parts) -> Iterator[tuple[str, object]]:
    """The services among the parts."""
    for field in dataclasses.fields(parts):
        part = getattr(parts, field.name)
        if type(part).__module__.startswith("cmbcluster.services."):
            yield field.name, part


def functions(parts: Parts) -> dict[str, Any]:
    """Every public function of every service, by its name."""
    return {
        f"{name}.{public}": getattr(service, public)
        for name, service in services(parts)
        for public, _ in inspect.getmembers(type(service), inspect.isroutine)
        if not public.startswith("_")
    }


def takes_actor(function: Any) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return first is not None and first.name == "actor" and first.annotation in ("Actor", Actor)


async def test_every_function_is_listed(world: World) -> None:
    found = functions(world.platform.parts)
    assert len(found) > 40
    listed = LINES.keys() | WITHOUT_ACTOR.keys() | ELSEWHERE.keys()
    assert found.keys() == listed, f"unlisted: {found.keys() - listed}; gone: {listed - found.keys()}"
    without = {name for name, function in found.items() if not takes_actor(function)}
    assert without == WITHOUT_ACTOR.keys(), "a function without an actor needs its reason"


def objects(world: World, who: str, which: str) -> Things:
    if which == MISSING:
        return NEVER_WAS
    if which == OWN and who in world.things:
        return world.things[who]
    return world.things["stranger" if who == "owner" else "owner"]


def asked(line: Line) -> tuple[str, ...]:
    """Which objects make a difference to this function."""
    if line.names_object:
        return WHICH
    differs = any(answers[0] != answers[2] for answers in line.answers.values())
    return (OWN, MISSING) if differs else (OWN,)


async def outcome(line: Line, parts: Parts, actor: Actor, things: Things) -> tuple[str, str]:
    """``allowed`` with what was answered, or the error with its text."""
    try:
        answer = line.call(parts, actor, things)
        if isinstance(answer, AsyncIterator):
            answer = [item async for item in answer]
        else:
            answer = await answer
    except UserError as refused:
        return type(refused).__name__, str(refused)
    return ALLOWED, repr(answer)


async def forgive_rates(world: World) -> None:
    """Nobody has asked for anything yet."""
    await world.platform.parts.rates._here.storage.reset()


@pytest.mark.parametrize("name", LINES)
async def test_who_may(world: World, name: str) -> None:
    line, answers, parts, file = LINES[name], answers_of(name), world.platform.parts, database_file(world)
    # What is refused is asked first, so that nothing that was allowed explains a change.
    cells = [(who, which) for who in ARRIVALS for which in asked(line)]
    cells.sort(key=lambda cell: answers[cell[0]][WHICH.index(cell[1])] == ALLOWED)
    told: dict[tuple[str, str], tuple[str, str]] = {}
    for who, which in cells:
        await forgive_rates(world)
        expected = answers[who][WHICH.index(which)]
        actor, before = await world.arrive(who), content_of(file)
        told[who, which] = await outcome(line, parts, actor, objects(world, who, which))
        assert told[who, which][0] == expected, f"{name} of {which}, as {who}: {told[who, which]}"
        if expected != ALLOWED:
            assert changes(before, content_of(file)) == [], f"{name} refused {who} and changed something"
        # A guest is told what is shared with them, and by whom.
        if who not in ("owner", "guest") and which == OWN:
            seen = [mark for mark in world.things["owner"].marks() if mark in told[who, which][1]]
            assert seen == [], f"{name} shows {who} what is the owner's"
    if not line.names_object:
        return
    for who in ARRIVALS:
        told_of_sharing = who == "guest" and name.startswith("activity.")
        if answers[who][1] == answers[who][2] and not told_of_sharing:
            assert told[who, OTHER] == told[who, MISSING], f"{name} tells {who} somebody else's from missing"


NAMING = [name for name, line in LINES.items() if line.names_object]


@pytest.mark.parametrize("name", NAMING)
async def test_somebody_elses_takes_as_long_as_missing(world: World, name: str) -> None:
    line, parts = LINES[name], world.platform.parts
    actor = await world.arrive("stranger")
    took: dict[str, list[float]] = {OTHER: [], MISSING: []}
    for number in range(CALLS):
        await forgive_rates(world)
        # In turn, so that whatever the machine does meanwhile meets both.
        for which in (OTHER, MISSING) if number % 2 else (MISSING, OTHER):
            began = time.perf_counter()
            await outcome(line, parts, actor, objects(world, "stranger", which))
            took[which].append(time.perf_counter() - began)
    short, long = sorted(statistics.median(times) for times in took.values())
    assert long <= max(short * FACTOR, short + SLACK_SECONDS), f"{name}: {short * 1e3:.2f} and {long * 1e3:.2f} ms"
