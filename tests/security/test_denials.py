"""Refusals and failed sign-ins are written down, and changes carry their entry in the same transaction."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog

from cmbcluster.domain.actors import Actor
from tests.security.actors import World
from tests.security.assembled import browser, shows
from tests.security.conftest import database_file
from tests.security.digests import changes, content_of
from tests.security.expectations import ALLOWED, LINES, MISSING, OTHER, OWN, answers_of
from tests.security.test_services import forgive_rates, functions, objects, outcome

pytestmark = pytest.mark.asyncio(loop_scope="package")
REFUSALS = ("NotFound", "Forbidden", "NotSignedIn")


@pytest.fixture
def written() -> Iterator[list[Any]]:
    """What is logged, before it becomes text."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.mark.parametrize("name", LINES)
async def test_every_refusal_of_a_service_is_written_down_once(world: World, name: str, written: list[Any]) -> None:
    line, parts = LINES[name], world.platform.parts
    for who in ("anonymous", "stranger", "token files"):
        for which, expected in zip((OTHER, MISSING), answers_of(name)[who][1:], strict=True):
            if expected not in REFUSALS:
                continue
            await forgive_rates(world)
            actor = await world.arrive(who)
            written.clear()
            assert (await outcome(line, parts, actor, objects(world, who, which)))[0] == expected
            denied = [each for each in written if each.get("kind") == "denied"]
            assert len(denied) == 1, f"{name} refused {who} and wrote {denied}"
            assert denied[0]["why"] == expected
            assert denied[0]["by"] == str(actor.user_id or "")
            assert denied[0]["address"] == "192.0.2.66"
            assert denied[0]["operation_id"] == actor.operation_id


async def test_failed_sign_ins_are_written_down(world: World, written: list[Any]) -> None:
    async with browser(world) as client:
        await client.post("/auth/development", data={"person": "mallory"}, headers=shows(world, "anonymous"))
        await client.get("/auth/lab/callback?state=x&code=y")
        await client.post("/auth/sign-out", headers={"Origin": "http://evil.example"})
    denied = [each["event"] for each in written if each.get("kind") == "denied"]
    assert denied == ["sign-in failed", "sign-in failed", "request from another site refused"]


CHANGES = (
    "accounts.rename", "accounts.set_role", "accounts.set_tier", "accounts.disable", "sessions.end",
    "sessions.sign_out", "sessions.end_others", "api_tokens.make", "api_tokens.revoke", "environments.launch",
    "environments.start", "environments.stop", "environments.extend", "environments.rename", "environments.update",
    "environments.delete", "registries.enter", "registries.remove", "access.mint", "shares.share", "shares.withdraw",
)  # fmt: skip
# They change only what is no act: what was read, and how long somebody was there.
NO_ACTS = ("notices.mark_read", "sessions.stay", "environments.page")


def entries_of(file: Path, actor: Actor, who: str) -> int:
    """How many entries say that this actor did something, from where and in which request."""
    with closing(sqlite3.connect(file)) as reader:
        rows = reader.execute("select actor_id, address, operation_id, result from activity").fetchall()
    wanted = (actor.user_id, "192.0.2.66", f"op-{who}", "ok")
    return [(UUID(str(by)), *rest) for by, *rest in rows if by is not None].count(wanted)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_and_its_entry_are_one(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its entry there is no change: an entry that cannot be written takes the change back."""
    line, parts, file = LINES[name], world.platform.parts, database_file(world)
    who, which = ("admin", OTHER) if name.startswith("accounts.set") or name == "accounts.disable" else ("owner", OWN)
    await forgive_rates(world)
    before = content_of(file)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no entry can be written")

    module = inspect.getmodule(inspect.unwrap(functions(parts)[name].__func__))
    with monkeypatch.context() as patched:
        for note in ("note_activity", "note_between"):
            patched.setattr(module, note, fail, raising=False)
        with pytest.raises(RuntimeError):
            await outcome(line, parts, await world.arrive(who), objects(world, who, which))
    assert changes(before, content_of(file)) == []
    # And with it, who, what, whose, from where and in which request are in it.
    actor = await world.arrive(who)
    written_before = entries_of(file, actor, who)
    assert (await outcome(line, parts, actor, objects(world, who, which)))[0] == ALLOWED
    new = [row for row in content_of(file)["activity"] if row not in before["activity"]]
    assert new, f"{name} wrote no entry"
    # A guest's own log has an entry too, which keeps the owner's address to itself.
    assert entries_of(file, actor, who) > written_before


async def test_every_function_that_changes_something_is_looked_at(world: World) -> None:
    """A function that changes something and is not in the list above has no entry to lose."""
    file, parts = database_file(world), world.platform.parts
    for name in LINES.keys() - set(CHANGES) - set(NO_ACTS):
        await forgive_rates(world)
        before = content_of(file)
        await outcome(LINES[name], parts, await world.arrive("owner"), world.things["owner"])
        assert changes(before, content_of(file)) == [], f"{name} changes something without being looked at"
