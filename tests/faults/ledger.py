"""What was asked and answered, in a file outside of the system, and the checker that holds it against the world.

Each call is written down before it is made (*invoke*) and when it is over: *ok*, *fail* or *unknown*. At the end
what was answered with *ok* must be there, what failed must not, and what nobody knows may be either, at any time
after it was asked for, but whole. A call without an end is one that nobody knows.

The checker follows every fate that an environment may have had and asks whether one of them is what is found. It
relies on each name being used by one client, which waits for an answer before it asks again. It reads nothing
but the ledger and a ``World``, so that made-up ones can be given to it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Act = Literal["launch", "start", "stop", "remove", "keep"]
State = Literal["absent", "running", "stopped", "removed", "kept"]
DELETED: frozenset[State] = frozenset({"removed", "kept"})
UNLISTED: frozenset[State] = frozenset({"absent", "removed", "kept"})
PHASES: dict[State, str] = {"running": "running", "stopped": "stopped", "removed": "gone", "kept": "gone"}
# What a change leaves in the owner's activity, where it was one.
AUDIT: dict[Act, str] = {
    "launch": "launched",
    "start": "started",
    "stop": "stopping",
    "remove": "deleted",
    "keep": "deleted",
}
NOT_FOUND = 404
LIST = "list"


class Ledger:
    """Appends to the file; each line is on disk before the call it tells of goes on. For many threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self._lock = threading.Lock()
        self._calls = 0

    @property
    def calls(self) -> int:
        """How many calls were begun."""
        return self._calls

    def invoke(self, client: str, act: str, name: str = "") -> int:
        """Note that a call is about to be made; the number it ends by."""
        with self._lock:
            self._calls += 1
            self._write(call=self._calls, event="invoke", client=client, act=act, name=name)
            return self._calls

    def end(self, call: int, event: Literal["ok", "fail", "unknown"], **more: Any) -> None:
        """Note how a call ended; ``status`` of a refusal and ``names`` of a list are checked as well."""
        with self._lock:
            self._write(call=call, event=event, **more)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **line: Any) -> None:
        self._file.write(json.dumps({"at": time.time(), **line}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass(frozen=True)
class Line:
    """One call's begin or end. A list of names is a call without a name of its own."""

    call: int
    event: Literal["invoke", "ok", "fail", "unknown"]
    client: str
    act: str
    name: str = ""
    status: int = 0
    names: frozenset[str] = frozenset()
    at: float = 0.0


def read(path: Path) -> list[Line]:
    """The ledger in its order; each end with what its begin said."""
    made: list[Line] = []
    begun: dict[int, dict[str, Any]] = {}
    for text in path.read_text().splitlines():
        told = json.loads(text)
        first = begun.setdefault(told["call"], told)
        made.append(
            Line(
                told["call"], told["event"], first["client"], first["act"], first["name"],
                told.get("status", 0), frozenset(told.get("names", ())), told["at"],
            )
        )  # fmt: skip
    return made


@dataclass(frozen=True)
class Row:
    """An environment as the database has it; ``audit`` is what people did to it, by kind.

    One that never ran, because it was stopped in time, may have come to its end before it had a workspace.
    """

    id: str
    name: str
    run: int
    desired: str
    phase: str
    is_settled: bool = True
    workspace_removed: bool = False
    audit: tuple[str, ...] = ()
    has_run: bool = True


@dataclass(frozen=True)
class Object:
    """A pod or a claim of ours; ``is_live`` says of a pod that it has not ended."""

    environment_id: str
    name: str
    run: int = 0
    is_live: bool = True
    at: float = 0.0


@dataclass
class World:
    """What is found at the end, and which claims went away while somebody watched."""

    rows: list[Row] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    claims: list[Object] = field(default_factory=list)
    removed_claims: list[Object] = field(default_factory=list)


@dataclass(frozen=True)
class Fate:
    """One way it may have gone with a name. ``pending``: calls of which nobody knows, that may still take effect."""

    state: State = "absent"
    audit: tuple[str, ...] = ()
    pending: frozenset[tuple[int, Act]] = frozenset()

    def after(self, act: Act) -> Fate | None:
        """What an acknowledged call makes of it; None where it cannot have been acknowledged."""
        if act == "launch":
            if self.state == "absent":
                return self._became("running", act)
            # The same key is the same launch, until what it launched is deleted.
            return None if self.state in DELETED else self
        if self.state == "absent":
            return None
        if act == "start":
            return self._became("running", act) if self.state == "stopped" else None
        if act == "stop":
            return self._became("stopped", act) if self.state == "running" else self
        # Of two deletions the first one counts.
        return self if self.state in DELETED else self._became("removed" if act == "remove" else "kept", act)

    def _became(self, state: State, act: Act) -> Fate:
        return Fate(state, tuple(sorted((*self.audit, AUDIT[act]))), self.pending)


def check(lines: Sequence[Line], world: World) -> list[str]:
    """Everything that is wrong, in words; nothing when the world is one that the ledger allows."""
    return [*_fates(lines, world), *_whole(world), *_matched(world), *_workspaces(lines, world)]


def _fates(lines: Sequence[Line], world: World) -> Iterator[str]:
    """Acknowledged changes are there, refused ones are not, and each is in the audit once."""
    rows = {row.name: row for row in world.rows}
    asked = {line.name for line in lines if line.name}
    for name, count in Counter(row.name for row in world.rows).items():
        if count > 1:
            yield f"{name}: {count} rows"
        if name not in asked:
            yield f"{name}: nobody asked for it"
    owners = {line.name: line.client for line in lines if line.name}
    for name, client in sorted(owners.items()):
        fates, wrong = _followed(name, [line for line in lines if line.client == client])
        if wrong:
            yield wrong
            continue
        row = rows.get(name)
        state, audit = (_state(row), tuple(sorted(row.audit))) if row is not None else ("absent", ())
        allowed = {(fate.state, fate.audit) for fate in fates}
        if state not in {each for each, _ in allowed}:
            yield f"{name}: is {state}, and may be {sorted({each for each, _ in allowed})}"
        elif (state, audit) not in allowed:
            yield f"{name}: is {state}, and its audit is {audit}: that was not acknowledged"


def _followed(name: str, lines: Sequence[Line]) -> tuple[set[Fate], str]:
    """Every fate one name may have, and what was answered that no fate explains."""
    fates = {Fate()}
    for line in lines:
        if line.event == "invoke" or (line.name != name and line.act != LIST):
            continue
        following = _after(fates, line, name)
        if not following:
            states = sorted({fate.state for fate in _closed(fates)})
            return fates, f"{name}: call {line.call}, {line.act}, was answered {line.event}, and it was {states}"
        fates = following
    begun = {line.call: _act(line) for line in lines if line.name == name and line.event == "invoke"}
    over = {line.call for line in lines if line.event != "invoke"}
    lost = {(call, act) for call, act in begun.items() if call not in over}
    return _closed({Fate(fate.state, fate.audit, fate.pending | lost) for fate in fates}), ""


def _after(fates: set[Fate], line: Line, name: str) -> set[Fate]:
    """The fates that are possible still, once a call has ended as it did."""
    if line.act == LIST:
        if line.event != "ok":
            return fates
        # What is being deleted may be listed for a while.
        return {
            fate
            for fate in _closed(fates)
            if (fate.state != "absent" if name in line.names else fate.state in UNLISTED)
        }
    if line.event == "ok":
        return {after for fate in _closed(fates) if (after := fate.after(_act(line))) is not None}
    if line.event == "fail":
        return {fate for fate in _closed(fates) if line.status != NOT_FOUND or fate.state in UNLISTED}
    return {Fate(fate.state, fate.audit, fate.pending | {(line.call, _act(line))}) for fate in fates}


def _closed(fates: set[Fate]) -> set[Fate]:
    """With what becomes of them when any of the pending calls take effect, in any order."""
    found, new = set(fates), set(fates)
    while new:
        fate = new.pop()
        for each in fate.pending:
            after = fate.after(each[1])
            if after is None:
                continue
            following = Fate(after.state, after.audit, fate.pending - {each})
            if following not in found:
                found.add(following)
                new.add(following)
    return found


def _act(line: Line) -> Act:
    for act in AUDIT:
        if act == line.act:
            return act
    raise ValueError(f"nobody knows what {line.act} does")


def _state(row: Row) -> State:
    if row.desired == "deleted":
        return "removed" if row.workspace_removed else "kept"
    return "running" if row.desired == "running" else "stopped"


def _whole(world: World) -> Iterator[str]:
    """I3, and each row is what it is wished to be: not half, not twice."""
    for row in world.rows:
        state = _state(row)
        if row.phase != PHASES[state] or not row.is_settled:
            yield f"{row.name}: should be {PHASES[state]}, and is {row.phase}{'' if row.is_settled else ', unsettled'}"
        live = [pod for pod in world.pods if pod.environment_id == row.id and pod.is_live]
        wanted = [row.run] if state == "running" else []
        if [pod.run for pod in live] != wanted:
            yield f"{row.name}: live pods of runs {[pod.run for pod in live]} instead of {wanted}"
        claims = [claim for claim in world.claims if claim.environment_id == row.id]
        allowed = (0,) if state == "removed" else (1,) if row.has_run or state == "running" else (0, 1)
        if len(claims) not in allowed:
            yield f"{row.name}: {len(claims)} workspaces, and it is {state}"


def _matched(world: World) -> Iterator[str]:
    """I4, the other way: no object without a row."""
    known = {row.id for row in world.rows}
    for each in (*world.pods, *world.claims):
        if each.environment_id not in known:
            yield f"{each.name}: an object without a row"
    gone = {row.id: row.name for row in world.rows if _state(row) in DELETED}
    for pod in world.pods:
        if pod.environment_id in gone and not pod.is_live:
            yield f"{pod.name}: the pod of a deleted environment, {gone[pod.environment_id]}"


def _workspaces(lines: Sequence[Line], world: World) -> Iterator[str]:
    """No workspace was ever removed without its own request, made before."""
    refused = {line.call for line in lines if line.event == "fail"}
    asked_at: dict[str, float] = {}
    for line in lines:
        if line.event == "invoke" and line.act == "remove" and line.call not in refused:
            asked_at.setdefault(line.name, line.at)
    names = {row.id: row.name for row in world.rows}
    for claim in world.removed_claims:
        name = names.get(claim.environment_id, "")
        if name not in asked_at:
            yield f"{claim.name}: removed, and nobody asked for it"
        elif claim.at < asked_at[name]:
            yield f"{claim.name}: removed before anybody asked for it"
