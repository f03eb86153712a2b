"""What two web replicas carry against one: events of open pages, as many as they answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from websockets.asyncio.client import connect

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.bench.report import ROOT, Row, Section, median, millis, publish
from tests.bench.surroundings import data_folder, free_port, quiet_logs
from tests.bench.web import PEOPLE, Tab
from tests.postgres import Databases, databases
from tests.roles.conftest import Process, Roles
from tests.servers.redis import RedisServer

TABS = 24
ROUNDS = 3
ROUND_SECONDS = 10.0
WARM_UP_SECONDS = 3.0
GOAL = 1.7


@dataclass
class Web:
    """One replica and where it answers."""

    process: Process
    port: int

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        return _cpu_seconds(psutil.Process(self.process.process.pid))


@dataclass(frozen=True)
class Round:
    """One round: answered events a second, and processor seconds of an event."""

    per_second: float
    of_web: float
    of_shared: float
    web_cores: float


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _shared_seconds() -> float:
    """Processor time of database and Redis."""
    total = 0.0
    for process in psutil.process_iter(["name"]):
        if process.info["name"] in ("postgres", "redis-server"):
            try:
                total += _cpu_seconds(process)
            except psutil.NoSuchProcess:
                continue
    return total


async def _sign_in(web: Web, url: str, person: str) -> str:
    headers = {"Origin": url, "Host": url.removeprefix("http://")}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{web.port}", headers=headers) as client:
        answer = await client.post("/auth/development", data={"person": person})
        return str(answer.cookies[SESSION_COOKIE])


async def _round(webs: Sequence[Web], url: str, name: str) -> Round:
    """Open pages at all of them, whose people click again as soon as they are answered."""
    tabs: list[Tab] = []
    async with AsyncExitStack() as opened:
        for number in range(TABS):
            web = webs[number % len(webs)]
            token = await _sign_in(web, url, PEOPLE[number % len(PEOPLE)])
            socket = await connect(
                f"ws://{url.removeprefix('http://')}/_event/?EIO=4&transport=websocket&token={name}-{number}",
                host="127.0.0.1",
                port=web.port,
                additional_headers={"Cookie": f"{SESSION_COOKIE}={token}", "Origin": url},
                compression=None,
            )
            tabs.append(Tab(socket))
            opened.push_async_callback(tabs[-1].close)
            await tabs[-1].open()
        await _click_for(tabs, WARM_UP_SECONDS)
        count_before = sum(len(tab.seconds) for tab in tabs)
        web_before, shared_before, began = (
            sum(web.cpu_seconds() for web in webs),
            _shared_seconds(),
            time.perf_counter(),
        )
        await _click_for(tabs, ROUND_SECONDS)
        lasted = time.perf_counter() - began
        count = sum(len(tab.seconds) for tab in tabs) - count_before
        web_used = sum(web.cpu_seconds() for web in webs) - web_before
        return Round(count / lasted, web_used / count, (_shared_seconds() - shared_before) / count, web_used / lasted)


async def _click_for(tabs: Sequence[Tab], seconds: float) -> None:
    until = time.perf_counter() + seconds

    async def click(tab: Tab) -> None:
        number = 0
        while time.perf_counter() < until:
            await tab.click(number)
            number += 1

    await asyncio.gather(*(click(tab) for tab in tabs))


@contextmanager
def _roles(folder: Path, url: str, redis: RedisServer) -> Iterator[Roles]:
    made = Roles(folder, url, free_port())
    made.settings |= {"CMB_REDIS_URL": redis.url, "CMB_SWEEP_SECONDS": "30"}
    # All people of a benchmark come from one address.
    made.settings |= {"CMB_SOCKETS_PER_MINUTE": "1000000", "CMB_SOCKETS_OF_ADDRESS_AT_ONCE": "100000"}
    made.settings |= {"CMB_SIGN_INS_PER_MINUTE": "100000", "CMB_SOCKETS_OF_SESSION_AT_ONCE": "1000"}
    try:
        yield made
    finally:
        made.end()


async def _all(folder: Path, databases_made: Databases) -> tuple[list[Round], list[Round]]:
    folder.mkdir(parents=True, exist_ok=True)
    redis = RedisServer(folder)
    redis.start()
    try:
        with _roles(folder, await databases_made.make_empty(), redis) as roles:
            await asyncio.to_thread(roles.migrate)
            webs = []
            for _ in range(2):
                port = free_port()
                webs.append(Web(roles.start("web", CMB_WEB_BIND=f"127.0.0.1:{port}"), port))
            await asyncio.gather(*(web.process.until_ready() for web in webs))
            one, two = [], []
            # In turn, so that whatever else this machine does falls on both.
            for number in range(ROUNDS):
                one.append(await _round(webs[:1], roles.url, f"one-{number}"))
                two.append(await _round(webs, roles.url, f"two-{number}"))
            return one, two
    finally:
        redis.kill()


def _measure() -> Section:
    # As in an image; they are built again when their sources changed.
    subprocess.run([sys.executable, "-m", "cmbcluster", "build-pages"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with data_folder() as data, databases() as made:
        one, two = asyncio.run(_all(data, made))
    return _section(one, two)


def _section(one: Sequence[Round], two: Sequence[Round]) -> Section:
    wall = median([each.per_second for each in two]) / median([each.per_second for each in one])
    web_one, web_two = (median([each.of_web for each in rounds]) for rounds in (one, two))
    shared = median([each.of_shared for each in two])
    with_cores = 2 * web_one / web_two
    rows = (
        Row("events a second, one replica", f"{median([each.per_second for each in one]):.0f}",
            f"{median([each.web_cores for each in one]):.2f} cores of the web"),
        Row("events a second, two replicas", f"{median([each.per_second for each in two]):.0f}",
            f"{median([each.web_cores for each in two]):.2f} cores of both"),
        Row("two against one on these cores", f"{wall:.2f} ×", "clients, database and Redis take part of them"),
        Row("processor of the web for an event, one replica", millis(web_one)),
        Row("the same, two replicas", millis(web_two)),
        Row("two against one by processor time", f"{with_cores:.2f} ×", "had each replica a core of its own",
            f"≥ {GOAL} ×", with_cores >= GOAL),
        Row("database and Redis for an event", millis(shared), f"so {1 / shared:.0f} events/s fill a core of theirs"),
    )  # fmt: skip
    cores = os.cpu_count() or 1
    return Section(
        "replicas",
        "Two web replicas",
        rows,
        (
            f"{TABS} open pages whose people click again as soon as they are answered, spread over the replicas, "
            f"without an edge; {ROUNDS} rounds of {ROUND_SECONDS:.0f} s each, in turn. A click opens a launch dialog, "
            "which asks services and database; states of pages are in Redis. A web replica is one process and so one "
            f"core at most. This machine has {cores} cores for replicas, database, Redis and the clients, so two "
            "replicas cannot have one each; the processor time of an event says what they would carry if they had, as "
            "long as database and Redis keep up.",
        ),
    )


def main() -> None:
    """Measure and publish."""
    quiet_logs()
    publish(_measure())


if __name__ == "__main__":
    main()
