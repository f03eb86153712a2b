"""Launches accepted through the services on PostgreSQL, with a thousand people in it and with five thousand."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.database_settings import sqlalchemy_address
from cmbcluster.db.columns import new_id
from cmbcluster.db.database import Database
from cmbcluster.db.models import Activity, Environment, User
from cmbcluster.domain.actors import Actor, ActorKind, Tier
from cmbcluster.domain.lifecycle import Desired, Phase
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.services.contents import ImageRules
from cmbcluster.services.environments import EnvironmentService
from cmbcluster.services.rates import RateService
from cmbcluster.settings import Settings
from tests.bench.report import Row, Section, least_and_most, median, millis, publish, quantile
from tests.bench.surroundings import data_folder, quiet_logs
from tests.faults.replicas import APPLICATION, application
from tests.postgres import Databases, databases

PEOPLE = (1000, 5000)
KEPT_EACH = 2
ACTIVITY_EACH = 4
AT_ONCE = 8
LAUNCHES = 300
ROUNDS = 3
WARM_UP = 50
GOAL_PER_SECOND = 60.0
# Two figures of one machine that differ by less are the same.
FALLING = 0.9


async def _fill(database: Database, count: int) -> tuple[Actor, ...]:
    """People who have used the platform before: environments at rest, and a log."""
    now = datetime.now(UTC)
    users = [
        User(
            provider="bench", subject=f"p{number}", email=f"p{number}@example.org", name=f"Person {number}",
            role="user", tier=Tier.PREMIUM.value, created_at=now,
        )
        for number in range(count)
    ]  # fmt: skip
    async with database.transaction() as work:
        work.applications.add(application())
        for user in users:
            work.users.add(user)
    for begin in range(0, count, 500):
        async with database.transaction() as work:
            for user in users[begin : begin + 500]:
                for number in range(KEPT_EACH):
                    work.environments.add(_at_rest(user, number, now))
                for number in range(ACTIVITY_EACH):
                    at = now - timedelta(days=number)
                    work.activity.add(Activity(at=at, owner_id=user.id, kind="signed_in", detail="Firefox"))
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("ANALYZE")
    return tuple(Actor(kind=ActorKind.PERSON, user_id=user.id, name=user.name, tier=Tier.PREMIUM) for user in users)


def _at_rest(user: User, number: int, now: datetime) -> Environment:
    return Environment(
        owner_id=user.id,
        name=f"old-{number}",
        slug=f"old-{number}-{new_id().hex[-12:]}",
        application_id=APPLICATION,
        source={"requirements": ["tiny"]},
        program={"command": ["tiny"]},
        cpu_millis=1000,
        memory_bytes=2**31,
        processes=512,
        workspace_bytes=2**33,
        uptime_seconds=3600,
        created_at=now,
        desired=Desired.STOPPED.value,
        asked_at=now,
        phase=Phase.STOPPED.value,
        phase_since=now,
        observed_generation=1,
    )


async def _launch_many(service: EnvironmentService, actors: tuple[Actor, ...], label: str) -> tuple[float, list[float]]:
    """Launches a second, and the seconds of each, with a few asking at once."""
    waiting = iter(random.Random(7).sample(actors, LAUNCHES))  # noqa: S311
    seconds: list[float] = []

    async def ask() -> None:
        for actor in waiting:
            began = time.perf_counter()
            await service.launch(actor, LaunchOrder(APPLICATION, label, "small", 3600), key=f"{label}-{actor.user_id}")
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return LAUNCHES / (time.perf_counter() - began), seconds


async def _rounds(made: Databases, folder: Path) -> dict[int, tuple[list[float], list[float]]]:
    """For each number of people: launches a second of each round, and the seconds of all launches."""
    found: dict[int, tuple[list[float], list[float]]] = {count: ([], []) for count in PEOPLE}
    opened = []
    for count in PEOPLE:
        settings = Settings(data_dir=folder, _env_file=None)
        database = Database(sqlalchemy_address(await made.make()))
        actors = await _fill(database, count)
        service = EnvironmentService(database, MemoryBus(), settings, RateService(settings), ImageRules(True, ()))
        for actor in actors[:WARM_UP]:
            await service.launch(actor, LaunchOrder(APPLICATION, "warm-up", "small", 3600))
        opened.append((count, database, actors, service))
    # In turn, so that whatever else this machine does falls on both.
    for number in range(ROUNDS):
        for count, _, actors, service in opened:
            per_second, seconds = await _launch_many(service, actors, f"round-{number}")
            found[count][0].append(per_second)
            found[count][1].extend(seconds)
    for _, database, _, _ in opened:
        await database.close()
    return found


def _measure() -> Section:
    with data_folder() as data, databases() as made:
        found = asyncio.run(_rounds(made, data))
    few, many = (median(found[count][0]) for count in PEOPLE)
    rows = []
    for count in PEOPLE:
        rates, seconds = found[count]
        rate = median(rates)
        rows.append(
            Row(
                f"launches accepted a second, {count:,} people",
                f"{rate:.0f}",
                f"{min(rates):.0f} to {max(rates):.0f} in {ROUNDS} rounds",
                f"≥ {GOAL_PER_SECOND:.0f}",
                rate >= GOAL_PER_SECOND,
            )
        )
        rows.append(
            Row(
                f"one launch, {count:,} people, {AT_ONCE} at once",
                millis(median(seconds)),
                f"p99 {millis(quantile(seconds, 0.99))}, {least_and_most(seconds)}",
            )
        )
    rows.append(
        Row("5,000 people against 1,000", f"{many / few:.2f} ×", "", f"≥ {FALLING}: not falling", many / few >= FALLING)
    )
    return Section(
        "database",
        "Launches accepted on PostgreSQL",
        tuple(rows),
        (
            f"`EnvironmentService.launch` with an idempotency key, {AT_ONCE} callers in one process, "
            f"{LAUNCHES} launches a round, each by another person. Everybody has {KEPT_EACH} environments at rest and "
            f"{ACTIVITY_EACH} entries in their log. Accepted means committed: row, log, key, and the view of the page. "
            "The server runs on the same cores, without fsync, as the tests' server does; a disk that syncs adds its "
            "time to each launch, "
            "not to each other's. JupyterHub on the same kind of machine: 27–32 a second, falling to 12.5.",
        ),
    )


def main() -> None:
    """Measure and publish."""
    quiet_logs()
    publish(_measure())


if __name__ == "__main__":
    main()
