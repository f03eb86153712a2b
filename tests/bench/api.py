"""How fast a script gets its list, in a database of five thousand people."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from cmbcluster.db.database import Database
from cmbcluster.db.models import Environment, LaunchStage, LinkedIdentity, User
from cmbcluster.domain.lifecycle import Phase, Stage
from tests.bench.edge import Load, load
from tests.bench.report import Row, Section, median, millis, publish
from tests.bench.running import Up, up
from tests.bench.surroundings import data_folder, quiet_logs

PEOPLE = 5000
EACH = 4
MINE = 50
ROUNDS = 3
CONNECTIONS = 2
APPLICATION = "cmb-explorer"
GOAL_PER_SECOND = 300.0
GOAL_P50_SECONDS = 0.005


def _environment(owner_id: UUID, number: int, now: datetime) -> Environment:
    asked_at = now - timedelta(minutes=number % 5000)
    return Environment(
        owner_id=owner_id, name=f"run-{number}", slug=f"run-{number}-k7q2mx", application_id=APPLICATION,
        source={"requirements": ["numpy", "healpy"], "python": "3.11"},
        program={"command": ["x", "{port}"], "port": 8501, "health_path": "/", "ready_within_seconds": 60,
                 "environment": {}},
        cpu_millis=1000, memory_bytes=2**30, processes=64, workspace_bytes=2**30, uptime_seconds=3600,
        desired="stopped", phase=Phase.STOPPED.value, observed_generation=1,
        created_at=asked_at, asked_at=asked_at, phase_since=asked_at,
    )  # fmt: skip


def _stages(row: Environment) -> list[LaunchStage]:
    begun, made = row.asked_at, []
    for stage in (Stage.QUEUED, Stage.RESOLVING, Stage.STARTING, Stage.PORT):
        ended = begun + timedelta(seconds=1)
        made.append(
            LaunchStage(environment_id=row.id, application_id=row.application_id, run=1, stage=stage.value,
                        started_at=begun, ended_at=ended)
        )  # fmt: skip
        begun = ended
    return made


async def _fill(path: Path) -> None:
    """People, their environments and each one's stages; the person ``elena`` has fifty."""
    database = Database(f"sqlite+aiosqlite:///{path}")
    now = datetime.now(UTC)
    async with AsyncSession(database.engine, expire_on_commit=False) as session, session.begin():
        mine = (await session.exec(select(User).where(User.subject == "elena"))).one()
        users = [
            User(provider="bench", subject=str(number), email=f"{number}@example.org", name=f"Person {number}",
                 role="user", tier="free", created_at=now)
            for number in range(PEOPLE)
        ]  # fmt: skip
        session.add_all(users)
        await session.flush()
        session.add_all(
            LinkedIdentity(user_id=user.id, provider="bench", subject=user.subject, created_at=now) for user in users
        )
        owners = [mine.id] * MINE + [user.id for user in users for _ in range(EACH)]
        rows = [_environment(owner_id, number, now) for number, owner_id in enumerate(owners)]
        session.add_all(rows)
        await session.flush()
        session.add_all(stage for row in rows for stage in _stages(row))
    await database.close()


async def _token(here: Up, session: str) -> str:
    headers = {"Origin": here.url, "Cookie": f"cmb_session={session}"}
    async with httpx.AsyncClient(base_url=here.url, headers=headers) as client:
        answer = await client.post("/api/tokens", json={"name": "bench", "scopes": ["read"], "days": 7})
        answer.raise_for_status()
        return str(answer.json()["token"])


async def _rounds(here: Up, data: Path) -> tuple[list[Load], list[Load], int]:
    session = here.sign_in("elena")
    await _fill(data / "cmbcluster.db")
    headers = (f"Authorization: Bearer {await _token(here, session)}", f"Host: localhost:{here.port}")
    path = f"/api/v1/environments?limit={MINE}"
    async with httpx.AsyncClient(base_url=here.url, headers=dict(header.split(": ") for header in headers)) as client:
        answer = await client.get(path)
        if len(answer.json().get("items", ())) != MINE:
            raise RuntimeError(f"the list is not what it should be: {answer.text[:200]}")
    await load(here.port, *headers, path=path, connections=1)
    alone = [await load(here.port, *headers, path=path, connections=1) for _ in range(ROUNDS)]
    busy = [await load(here.port, *headers, path=path, connections=CONNECTIONS) for _ in range(ROUNDS)]
    return alone, busy, len(answer.content)


def _measure() -> Section:
    with data_folder() as data, up(data) as here:
        alone, busy, size = asyncio.run(_rounds(here, data))
    per_second = median([one.per_second for one in busy])
    p50 = median([one.p50_seconds for one in alone])
    rows = (
        Row(
            f"lists of {MINE} environments, {CONNECTIONS} connections",
            f"{per_second:.0f} requests/s",
            f"p99 {millis(median([one.p99_seconds for one in busy]))}",
            f"≥ {GOAL_PER_SECOND:.0f} requests/s",
            per_second >= GOAL_PER_SECOND,
        ),
        Row(
            "one after the other, median",
            millis(p50),
            f"p99 {millis(median([one.p99_seconds for one in alone]))}",
            f"≤ {millis(GOAL_P50_SECONDS)}",
            p50 <= GOAL_P50_SECONDS,
        ),
    )
    notes = (
        f"`cmbcluster up` over SQLite with {PEOPLE} people and {PEOPLE * EACH + MINE} environments with their stages; "
        f"`GET /api/v1/environments?limit={MINE}` with a token, through the edge, {size // 1024} KiB an answer. The "
        "web application is one process on one core; Caddy and the load generator have the other.",
    )
    return Section("api", "The API", rows, notes)


def main() -> None:
    """Measure and write."""
    quiet_logs()
    publish(_measure())


if __name__ == "__main__":
    main()
