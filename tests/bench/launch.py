"""From the click to *running*: what the platform adds to a program's own start.

Real parts throughout: services, SQLite, controller, and the local runtime at the best
separation of this machine. The program is a small HTTP server of the standard library
whose build is there already.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cmbcluster.controller.controller import Controller
from cmbcluster.db.models import Application
from cmbcluster.domain.actors import Actor, Role, Tier
from cmbcluster.domain.lifecycle import Phase
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.identity.port import SignedIn
from cmbcluster.settings import Settings
from cmbcluster.wiring import Parts, close_parts, open_parts
from tests.bench.report import Row, Section, least_and_most, median, millis, publish, quantile
from tests.bench.surroundings import answers, data_folder, end, free_ports, quiet_logs, until

SINGLE_RUNS = 21
CROWD_RUNS = 3
PEOPLE = 8
EACH = 5  # As many as the premium tier lets run at once.
POLL_SECONDS = 0.001
LONGEST_SECONDS = 60.0
GOAL_SINGLE_SECONDS = 0.100
GOAL_CROWD_SECONDS = 1.6
PROGRAM = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@dataclass
class Bench:
    """The platform under measurement."""

    parts: Parts
    people: list[Actor]
    python: Path = Path(sys.executable)
    launches: int = 0

    async def launch(self, actor: Actor) -> tuple[float, EnvironmentView]:
        """Seconds from the click to the moment every open page is told that it runs."""
        self.launches += 1
        order = LaunchOrder("bench", f"bench {self.launches}", "small", 3600)
        began = time.perf_counter()
        view = await self.parts.environments.launch(actor, order)
        async with self.parts.bus.subscribe(f"environment:{view.id}") as rings:
            async with asyncio.timeout(LONGEST_SECONDS):
                async for ring in rings:
                    if ring.about == Phase.RUNNING:
                        break
                    if ring.about == Phase.FAILED:
                        failed = await self.parts.environments.get(actor, view.id)
                        raise RuntimeError(f"the program did not start: {failed.reason}")
        return time.perf_counter() - began, view

    async def clear(self, actor: Actor, *views: EnvironmentView) -> None:
        """Delete environments and wait until nothing of them is left."""
        for view in views:
            await self.parts.environments.delete(actor, view.id, typed_name=view.name, remove_workspace=True)

        async def none_left() -> bool:
            return not (await self.parts.environments.page(actor)).total

        await until(none_left, pause_seconds=0.02, most_seconds=LONGEST_SECONDS)

    async def plain(self, count: int = 1) -> float:
        """Seconds from starting the bare program ``count`` times at once until each answers."""
        ports = free_ports(count)
        began = time.perf_counter()
        started = [subprocess.Popen([str(self.python), "-c", PROGRAM, str(port)]) for port in ports]
        try:
            async with asyncio.TaskGroup() as waiting:
                for port in ports:
                    waiting.create_task(_until_it_answers(port))
            return time.perf_counter() - began
        finally:
            for process in started:
                end(process)


async def _until_it_answers(port: int) -> None:
    await until(lambda: answers(port), pause_seconds=POLL_SECONDS, most_seconds=LONGEST_SECONDS)


@asynccontextmanager
async def platform(data: Path) -> AsyncIterator[Bench]:
    """Services, controller and runtime as ``cmbcluster up`` puts them together."""
    settings = Settings(data_dir=data, local_stop_grace_seconds=2, _env_file=None)
    parts = await open_parts(settings)
    controller = Controller(parts)
    try:
        async with parts.database.transaction() as work:
            work.applications.add(_application())
        await controller.open()
        yield Bench(parts, [await _premium(parts, number) for number in range(PEOPLE)])
    finally:
        await controller.close(stop_environments=True)
        await close_parts()


async def _premium(parts: Parts, number: int) -> Actor:
    identity = SignedIn("bench", str(number), f"{number}@example.org", f"Person {number}", Role.USER, Tier.PREMIUM)
    token = await parts.sessions.sign_in(identity, browser="bench", address="127.0.0.1")
    actor = await parts.sessions.find(token)
    if actor is None:
        raise RuntimeError("the session that was just made is not there")
    return actor


def _application() -> Application:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Application(
        id="bench",
        name="Bench",
        category="Bench",
        summary="A small server.",
        icon="custom",
        position=1,
        size="small",
        needs_keys=[],
        source={"requirements": [], "python": version},
        program={
            "command": ["python", "-c", PROGRAM, "{port}"],
            "port": 8501,
            "health_path": "/",
            "ready_within_seconds": 60,
            "environment": {},
        },
        seed_digest="bench",
    )


async def _one_by_one(bench: Bench) -> tuple[list[float], list[float]]:
    actor = bench.people[0]
    ours, plain = [], []
    for _ in range(SINGLE_RUNS):
        plain.append(await bench.plain())
        seconds, view = await bench.launch(actor)
        ours.append(seconds)
        await bench.clear(actor, view)
    return ours, plain


async def _at_once(bench: Bench) -> tuple[list[float], list[float]]:
    ours, plain = [], []
    for _ in range(CROWD_RUNS):
        plain.append(await bench.plain(PEOPLE * EACH))
        began = time.perf_counter()
        crowd = [actor for actor in bench.people for _ in range(EACH)]
        launched = await asyncio.gather(*(bench.launch(actor) for actor in crowd))
        ours.append(time.perf_counter() - began)
        for number, actor in enumerate(bench.people):
            await bench.clear(actor, *(view for _, view in launched[number * EACH : (number + 1) * EACH]))
    return ours, plain


async def _measure() -> Section:
    with data_folder() as data:
        async with platform(data) as bench:
            # The first launch makes the build that all others find.
            _, first = await bench.launch(bench.people[0])
            seen = await bench.parts.environments.get(bench.people[0], first.id)
            level = seen.protection.level if seen.protection else "unknown"
            await bench.clear(bench.people[0], first)
            bench.python = next((data / "builds").glob("*/bin/python"))
            single, single_plain = await _one_by_one(bench)
            crowd, crowd_plain = await _at_once(bench)
    return _section(level, (single, single_plain), (crowd, crowd_plain))


def _section(level: str, single: tuple[list[float], list[float]], crowd: tuple[list[float], list[float]]) -> Section:
    added = median(single[0]) - median(single[1])
    crowd_added = median(crowd[0]) - median(crowd[1])
    many = PEOPLE * EACH
    rows = (
        Row("click to *running*", millis(median(single[0])), f"p90 {millis(quantile(single[0], 0.9))}"),
        Row("the same program started plainly", millis(median(single[1])), f"p90 {millis(quantile(single[1], 0.9))}"),
        Row(
            "what the platform adds",
            millis(added),
            f"median of {SINGLE_RUNS} less median of {SINGLE_RUNS}",
            f"≤ {millis(GOAL_SINGLE_SECONDS)}",
            added <= GOAL_SINGLE_SECONDS,
        ),
        Row(f"{many} launches at once, until the last runs", millis(median(crowd[0])), least_and_most(crowd[0])),
        Row(f"{many} plain starts at once", millis(median(crowd[1])), least_and_most(crowd[1])),
        Row(
            "what the platform adds to all of them",
            millis(crowd_added),
            f"median of {CROWD_RUNS} less median of {CROWD_RUNS}",
            f"≤ {millis(GOAL_CROWD_SECONDS)}",
            crowd_added <= GOAL_CROWD_SECONDS,
        ),
    )
    notes = (
        f"Services, SQLite, controller and local runtime at level *{level}*, in one process as in `cmbcluster up`, "
        "but without the web application and without a browser. A launch is measured from the call of the service to "
        "the ring that tells open pages *running*; the plain start from the spawn to the first HTTP answer, asked "
        f"every {POLL_SECONDS * 1000:g} ms, with the interpreter of the same build and no separation. "
        "Both take turns. The build is there before the first measured launch; finding the lock of a source without "
        "requirements asks no index, so resolving is in the figure only as bookkeeping.",
        f"At once: {PEOPLE} people of the premium tier launch {EACH} each. The machine's cores are the limit for both "
        "sides, so the difference is the processor time of separation, supervision and bookkeeping.",
    )
    return Section("launch", "From the click to running", rows, notes)


def main() -> None:
    """Measure and write."""
    quiet_logs()
    publish(asyncio.run(_measure()))


if __name__ == "__main__":
    main()
