"""What a process does with its database when it begins: it waits for one that is away, and hides no mistake."""

from __future__ import annotations

import pytest

from cmbcluster import wiring
from cmbcluster.db.failures import CommitUnknown
from cmbcluster.errors import DatabaseUnavailable


async def test_a_database_that_fails_at_the_beginning_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "DATABASE_AGAIN_SECONDS", 0.0)
    failures: list[Exception] = [DatabaseUnavailable("it is away"), CommitUnknown("it went away")]
    asked = 0

    async def do() -> None:
        nonlocal asked
        asked += 1
        if failures:
            raise failures.pop()

    await wiring._once_it_answers(do)
    assert asked == 3


async def test_a_mistake_at_the_beginning_ends_it() -> None:
    async def do() -> None:
        raise ValueError("not the database's fault")

    with pytest.raises(ValueError, match="fault"):
        await wiring._once_it_answers(do)
