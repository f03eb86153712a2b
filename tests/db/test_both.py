"""What the platform relies on from a database, on SQLite and on a real PostgreSQL alike."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from cmbcluster.db.columns import new_id
from cmbcluster.db.database import Database
from cmbcluster.db.failures import Clashed, KeyTaken, retried
from cmbcluster.db.models import Activity, Application, Notice, SignInAttempt, User
from cmbcluster.errors import DatabaseUnavailable


def _user(subject: str, **more: Any) -> User:
    about: dict[str, Any] = {"email": "", "name": "0", "role": "user", "tier": "free", "created_at": datetime.now(UTC)}
    return User(provider="test", subject=subject, **{**about, **more})


async def _add(database: Database, subject: str, **more: Any) -> UUID:
    async with database.transaction() as work:
        user = _user(subject, **more)
        work.users.add(user)
    return user.id


async def test_many_writers_count_without_losing_one(migrated: Database) -> None:
    user_id = await _add(migrated, "ada")

    async def count() -> None:
        async with migrated.transaction() as work:
            user = await work.users.lock(user_id)
            assert user is not None
            before = int(user.name)
            await asyncio.sleep(0)
            user.name = str(before + 1)

    await asyncio.gather(*(count() for _ in range(40)))
    async with migrated.reading() as work:
        user = await work.users.by_id(user_id)
    assert user is not None
    assert user.name == "40"


async def test_a_reader_sees_one_moment_and_writes_nothing(migrated: Database) -> None:
    async with migrated.reading() as before:
        assert await before.users.by_subject("test", "late") is None
        await _add(migrated, "late")
        assert await before.users.by_subject("test", "late") is None
    async with migrated.reading() as after:
        assert await after.users.by_subject("test", "late") is not None


async def test_a_taken_key_is_told_and_leaves_nothing(migrated: Database) -> None:
    await _add(migrated, "ada")
    with pytest.raises(KeyTaken):
        async with migrated.transaction() as work:
            work.users.add(_user("elena"))
            await work.flush()
            work.users.add(_user("ada"))
    async with migrated.reading() as work:
        assert await work.users.by_subject("test", "elena") is None


async def test_the_clock_is_the_databases_and_goes_on_within_a_transaction(migrated: Database) -> None:
    async with migrated.transaction() as work:
        first = await work.now()
        await asyncio.sleep(0.05)
        second = await work.now()
    assert first.tzinfo is not None
    assert timedelta(seconds=0.04) < second - first < timedelta(seconds=5)
    assert abs(datetime.now(UTC) - second) < timedelta(seconds=5)


async def test_a_notice_is_kept_once_however_many_add_it(migrated: Database) -> None:
    user_id = await _add(migrated, "ada")

    async def tell() -> bool:
        async with migrated.transaction() as work:
            notice = Notice(user_id=user_id, at=await work.now(), kind="warned", text="Soon.", once="warned:1")
            return await work.notices.add_once(notice)

    told = await asyncio.gather(*(tell() for _ in range(8)))
    assert told.count(True) == 1
    async with migrated.reading() as work:
        assert len(await work.notices.recent(user_id, 10)) == 1


async def test_a_sign_in_is_used_once_however_many_bring_it(migrated: Database) -> None:
    async with migrated.transaction() as work:
        now = await work.now()
        row = SignInAttempt(
            state_sha256="s", browser_sha256="b", provider="p", expires_at=now + timedelta(seconds=60)
        )  # fmt: skip
        work.sign_in_attempts.add(row)

    async def use() -> str:
        async with migrated.transaction() as work:
            kept = await work.sign_in_attempts.by_state("s")
            assert kept is not None
            if kept.used_at is not None:
                return "used"
            return "first" if await work.sign_in_attempts.use("s", await work.now()) else "expired"

    assert sorted(await asyncio.gather(*(use() for _ in range(6)))) == ["first"] + ["used"] * 5


async def test_what_expired_is_tidied_up_by_many_at_once(migrated: Database) -> None:
    async with migrated.transaction() as work:
        now = await work.now()
        for number in range(50):
            expires_at = now - timedelta(seconds=number + 1)
            work.sign_in_attempts.add(
                SignInAttempt(state_sha256=f"s{number}", browser_sha256="b", provider="p", expires_at=expires_at)
            )

    async def tidy() -> None:
        async with migrated.transaction() as work:
            await work.sign_in_attempts.forget_expired(now)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(tidy() for _ in range(4)))
    async with migrated.transaction() as work:
        assert await work.sign_in_attempts.by_state("s1") is None


async def test_who_takes_a_turn_keeps_others_out(migrated: Database) -> None:
    inside = 0
    most = 0

    async def act() -> None:
        nonlocal inside, most
        async with migrated.transaction() as work:
            await work.take_turn("tests")
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(act() for _ in range(5)))
    assert most == 1


async def test_words_are_found_however_they_are_written(migrated: Database) -> None:
    await _add(migrated, "ada", email="Ada@Example.org", email_verified=True)
    async with migrated.transaction() as work:
        work.applications.add(
            Application(
                id="x", name="100%_Planck", category="Tests", summary="", icon="", position=1, size="small",
                needs_keys=[], source={"requirements": ["ü"]}, program=None, seed_digest="",
            )
        )  # fmt: skip
    async with migrated.reading() as work:
        assert len(await work.users.by_email("aDA@example.ORG")) == 1
        found = await work.applications.enabled("%_pLANCK")
        assert [row.id for row in found] == ["x"]
        assert (found[0].source, found[0].program) == ({"requirements": ["ü"]}, None)
        assert await work.applications.enabled("0x") == ()


async def test_a_clash_is_tried_again_three_times_and_then_told() -> None:
    tries = 0

    @retried
    async def act(clashes: int) -> str:
        nonlocal tries
        tries += 1
        if tries <= clashes:
            raise Clashed("another transaction was in the way")
        return "done"

    assert await act(3) == "done"
    tries = 0
    with pytest.raises(DatabaseUnavailable):
        await act(4)
    assert tries == 4


async def test_keys_sort_by_the_time_they_were_made(migrated: Database) -> None:
    made = [new_id() for _ in range(20)]
    assert made == sorted(made)


@pytest.mark.parametrize("act", ["UPDATE activity SET kind = 'other'", "DELETE FROM activity"])
async def test_the_database_keeps_what_happened(migrated: Database, act: str) -> None:
    user_id = await _add(migrated, "ada")
    async with migrated.transaction() as work:
        work.activity.add(Activity(at=datetime.now(UTC), owner_id=user_id, kind="launched"))
    # Both databases count a refused change among the violated rules.
    with pytest.raises(KeyTaken):
        async with migrated.transaction() as work:
            await (await work._session.connection()).execute(text(act))
    async with migrated.reading() as work:
        assert await work.activity.kinds(user_id) == ("launched",)
