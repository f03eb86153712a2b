"""The checker of the ledger, on made-up ledgers and worlds: what it must refuse, and what it must let pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.ledger import Ledger, Line, Object, Row, World, check, read

CLIENT = "one"


def lines_of(*calls: tuple[Any, ...]) -> list[Line]:
    """A ledger of (act, name, how it ended, more); without an end where that is empty."""
    made: list[Line] = []
    for number, (act, name, event, *more) in enumerate(calls, 1):
        made.append(Line(number, "invoke", CLIENT, act, name, at=float(number)))
        if event:
            made.append(Line(number, event, CLIENT, act, name, **(more[0] if more else {}), at=number + 0.5))
    return made


def row(name: str = "a", **changes: Any) -> Row:
    return replace(Row(f"id-{name}", name, 1, "running", "running", audit=("launched",)), **changes)


def pod(name: str = "a", **changes: Any) -> Object:
    return replace(Object(f"id-{name}", f"env-{name}", 1), **changes)


def claim(name: str = "a", **changes: Any) -> Object:
    return replace(Object(f"id-{name}", f"workspace-{name}"), **changes)


LAUNCH, STOP = ("launch", "a", "ok"), ("stop", "a", "ok")
RUNS = World([row()], [pod()], [claim()])
STOPPED = World([row(desired="stopped", phase="stopped", audit=("launched", "stopping"))], [], [claim()])
ENDED = ("deleted", "launched")
REMOVED = World([row(desired="deleted", phase="gone", workspace_removed=True, audit=ENDED)])
TWICE = World([row(run=2, audit=("launched", "started", "stopping"))], [pod(run=2)], [claim()])
NOTHING = World()


@pytest.mark.parametrize(
    ("calls", "world"),
    [
        ([LAUNCH], RUNS),
        ([LAUNCH, LAUNCH], RUNS),
        ([LAUNCH, STOP, STOP], STOPPED),
        ([LAUNCH, STOP, ("start", "a", "ok")], TWICE),
        ([LAUNCH, ("remove", "a", "ok")], REMOVED),
        ([("launch", "a", "fail", {"status": 409})], NOTHING),
        # Stopped before it had a workspace.
        ([LAUNCH, STOP], World([replace(STOPPED.rows[0], has_run=False)])),
        # Nobody knows: it may be either.
        ([("launch", "a", "unknown")], NOTHING),
        ([("launch", "a", "unknown")], RUNS),
        ([("launch", "a", "")], RUNS),
        ([("launch", "a", "unknown"), LAUNCH], RUNS),
        ([LAUNCH, ("stop", "a", "unknown")], RUNS),
        ([LAUNCH, ("stop", "a", "unknown")], STOPPED),
        ([LAUNCH, ("remove", "a", "unknown"), ("remove", "a", "fail", {"status": 404})], REMOVED),
        # One that nobody knows may take effect after what was acknowledged later.
        ([("launch", "a", "unknown"), ("list", "", "ok"), ("list", "", "ok", {"names": frozenset({"a"})})], RUNS),
        ([LAUNCH, STOP, ("start", "a", "unknown"), ("start", "a", "fail", {"status": 409})], TWICE),
        ([LAUNCH, ("list", "", "ok", {"names": frozenset({"a"})})], RUNS),
    ],
)
def test_a_world_that_the_ledger_allows_passes(calls: list[tuple[Any, ...]], world: World) -> None:
    assert check(lines_of(*calls), world) == []


@pytest.mark.parametrize(
    ("calls", "world", "said"),
    [
        ([LAUNCH], NOTHING, "a: is absent, and may be ['running']"),
        ([LAUNCH, STOP], replace(RUNS), "a: is running, and may be ['stopped']"),
        ([("launch", "a", "fail", {"status": 409})], RUNS, "a: is running, and may be ['absent']"),
        ([LAUNCH, ("stop", "a", "fail", {"status": 409})], STOPPED, "a: is stopped, and may be ['running']"),
        ([("launch", "a", "unknown")], World([row()], [], [claim()]), "a: live pods of runs [] instead of [1]"),
        ([("launch", "a", "unknown")], World([row()], [pod()]), "a: 0 workspaces, and it is running"),
        ([("launch", "a", "unknown")], World([], [], [claim()]), "workspace-a: an object without a row"),
        (
            [("launch", "a", "unknown")],
            World([row(phase="pulling")], [pod()], [claim()]),
            "a: should be running, and is pulling",
        ),
        (
            [LAUNCH],
            World([row(is_settled=False)], [pod()], [claim()]),
            "a: should be running, and is running, unsettled",
        ),
        (
            [LAUNCH],
            World([row()], [pod(), replace(pod(), name="env-a-2")], [claim()]),
            "a: live pods of runs [1, 1] instead of [1]",
        ),
        ([LAUNCH], World([row()], [pod(run=2)], [claim()]), "a: live pods of runs [2] instead of [1]"),
        ([LAUNCH, STOP], World(STOPPED.rows, [pod()], [claim()]), "a: live pods of runs [1] instead of []"),
        ([LAUNCH], World([row(has_run=False)], [pod()]), "a: 0 workspaces, and it is running"),
        ([LAUNCH, STOP], World(STOPPED.rows), "a: 0 workspaces, and it is stopped"),
        ([LAUNCH, ("remove", "a", "ok")], World(REMOVED.rows, [], [claim()]), "a: 1 workspaces, and it is removed"),
        (
            [LAUNCH, ("remove", "a", "ok")],
            World(REMOVED.rows, [pod(is_live=False)]),
            "env-a: the pod of a deleted environment, a",
        ),
        ([LAUNCH], World([row()], [pod(), pod("b")], [claim()]), "env-b: an object without a row"),
        ([LAUNCH], World([row(), row(id="id-2")], [pod()], [claim()]), "a: 2 rows"),
        ([LAUNCH], World([row(), row("b")], [pod(), pod("b")], [claim(), claim("b")]), "b: nobody asked for it"),
        (
            [LAUNCH, LAUNCH],
            World([row(audit=("launched", "launched"))], [pod()], [claim()]),
            "a: is running, and its audit is ('launched', 'launched'): that was not acknowledged",
        ),
        (
            [LAUNCH, STOP],
            World([replace(STOPPED.rows[0], audit=("launched",))], [], [claim()]),
            "a: is stopped, and its audit is ('launched',): that was not acknowledged",
        ),
        # Told during the run, though it is there at the end.
        ([LAUNCH, ("list", "", "ok")], RUNS, "a: call 2, list, was answered ok, and it was ['running']"),
        (
            [LAUNCH, ("stop", "a", "fail", {"status": 404})],
            RUNS,
            "a: call 2, stop, was answered fail, and it was ['running']",
        ),
        ([LAUNCH, ("start", "a", "ok")], TWICE, "a: call 2, start, was answered ok, and it was ['running']"),
    ],
)
def test_a_world_that_it_does_not_allow_is_refused(calls: list[tuple[Any, ...]], world: World, said: str) -> None:
    assert said in check(lines_of(*calls), world)


def test_a_workspace_goes_only_after_its_own_request() -> None:
    took = World(REMOVED.rows, removed_claims=[claim(at=2.1)])
    assert check(lines_of(LAUNCH, ("remove", "a", "unknown")), took) == []
    early = World(REMOVED.rows, removed_claims=[claim(at=1.9)])
    assert check(lines_of(LAUNCH, ("remove", "a", "ok")), early) == ["workspace-a: removed before anybody asked for it"]
    kept = World([replace(REMOVED.rows[0], workspace_removed=False)], [], [claim()], [claim(at=9)])
    assert check(lines_of(LAUNCH, ("keep", "a", "ok")), kept) == ["workspace-a: removed, and nobody asked for it"]
    refused = [LAUNCH, ("remove", "a", "fail", {"status": 422}), ("keep", "a", "ok")]
    assert check(lines_of(*refused), kept) == ["workspace-a: removed, and nobody asked for it"]
    unknown = World(removed_claims=[claim("b", at=9)])
    assert check([], unknown) == ["workspace-b: removed, and nobody asked for it"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    first = ledger.invoke("one", "launch", "a")
    second = ledger.invoke("two", "list")
    ledger.end(second, "ok", names=["b"])
    ledger.end(first, "fail", status=409)
    ledger.invoke("one", "stop", "a")
    ledger.close()
    told = [replace(line, at=0.0) for line in read(tmp_path / "ledger")]
    assert told == [
        Line(1, "invoke", "one", "launch", "a"),
        Line(2, "invoke", "two", "list"),
        Line(2, "ok", "two", "list", names=frozenset({"b"})),
        Line(1, "fail", "one", "launch", "a", status=409),
        Line(3, "invoke", "one", "stop", "a"),
    ]
