"""What identity costs: the gate at a steady pace, signing in, and the memory of many who are signed in."""

from __future__ import annotations

import asyncio
import time

import httpx
import psutil
from websockets.asyncio.client import connect

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.bench.edge import ask_gate, edge
from tests.bench.report import Row, Section, least_and_most, median, millis, publish, quantile
from tests.bench.running import Up, up
from tests.bench.surroundings import data_folder, quiet_logs, upstream
from tests.bench.web import PEOPLE, Tab

PER_SECOND = 500.0
QUESTIONS = 5000
SIGN_INS = 100
SESSIONS = 1000
TABS = 100
SETTLE_SECONDS = 3.0
GOAL_GATE_P50_SECONDS = 0.001
GOAL_GATE_P99_SECONDS = 0.005
GOAL_SIGN_IN_SECONDS = 0.050
GOAL_SESSION_BYTES = 40 * 1024
KIB = 1024


async def gate_at_a_pace() -> list[float]:
    """Seconds of each of the gate's answers at a steady 500 a second, mostly from its memory of two seconds."""
    with data_folder() as data:
        async with upstream() as application, edge(data, application) as there:
            seconds = await ask_gate(there, QUESTIONS, PER_SECOND)
    return seconds[QUESTIONS // 10 :]


def _own_bytes(here: Up) -> int:
    """Memory that the platform's Python alone holds."""
    return int(psutil.Process(here.process.pid).memory_full_info().uss)


async def _open(here: Up, tokens: list[str]) -> list[Tab]:
    tabs = []
    for number, token in enumerate(tokens):
        socket = await connect(
            f"ws://localhost:{here.port}/_event/?EIO=4&transport=websocket&token=identity-{number}",
            additional_headers={"Cookie": f"{SESSION_COOKIE}={token}", "Origin": here.url},
            compression=None,
        )
        tabs.append(Tab(socket))
        await tabs[-1].open()
    return tabs


async def people(here: Up) -> tuple[list[float], float, float]:
    """Seconds of signing in; bytes of a signed-in session; bytes of an open page."""
    seconds, tokens = [], []
    async with httpx.AsyncClient(base_url=here.url, headers={"Origin": here.url}) as client:
        for number in range(SESSIONS):
            began = time.perf_counter()
            answer = await client.post("/auth/development", data={"person": PEOPLE[number % len(PEOPLE)]})
            seconds.append(time.perf_counter() - began)
            tokens.append(answer.cookies[SESSION_COOKIE])
            client.cookies.clear()
            if number == SIGN_INS:
                before = _own_bytes(here)
    signed_in = (_own_bytes(here) - before) / (SESSIONS - SIGN_INS)
    warm = await _open(here, tokens[:10])
    await asyncio.sleep(SETTLE_SECONDS)
    before = _own_bytes(here)
    tabs = await _open(here, tokens[10 : 10 + TABS])
    await asyncio.sleep(SETTLE_SECONDS)
    page = (_own_bytes(here) - before) / TABS
    await asyncio.gather(*(tab.close() for tab in (*warm, *tabs)))
    return seconds[:SIGN_INS], signed_in, page


def _measure() -> Section:
    gate = asyncio.run(gate_at_a_pace())
    with data_folder() as data, up(data) as here:
        seconds, signed_in, page = asyncio.run(people(here))
    late, half = quantile(gate, 0.99), median(gate)
    rows = (
        Row(
            f"the gate at {PER_SECOND:.0f} questions/s, median",
            millis(half),
            f"{len(gate)} questions",
            f"≤ {millis(GOAL_GATE_P50_SECONDS)}",
            half <= GOAL_GATE_P50_SECONDS,
        ),
        Row(
            f"the gate at {PER_SECOND:.0f} questions/s, p99",
            millis(late),
            f"slowest {millis(max(gate))}",
            f"≤ {millis(GOAL_GATE_P99_SECONDS)}",
            late <= GOAL_GATE_P99_SECONDS,
        ),
        Row(
            "signing in, through the edge",
            millis(median(seconds)),
            least_and_most(seconds),
            f"≤ {millis(GOAL_SIGN_IN_SECONDS)}",
            median(seconds) <= GOAL_SIGN_IN_SECONDS,
        ),
        Row(
            "memory of a signed-in session",
            f"{signed_in / KIB:.1f} KiB",
            f"{SESSIONS} sessions",
            f"≤ {GOAL_SESSION_BYTES // KIB} KiB",
            signed_in <= GOAL_SESSION_BYTES,
        ),
        Row("memory of an open page", f"{page / KIB:.0f} KiB", f"{TABS} pages"),
    )
    notes = (
        f"The gate is asked over its socket by a program of its own, {PER_SECOND:.0f} times a second for "
        f"{QUESTIONS / PER_SECOND:.0f} s; once in two seconds the session is looked up in SQLite, else the answer "
        "comes from memory.",
        "Signing in is the whole POST of a test person through Caddy; a provider's part is not in it. Memory is what "
        "the platform's Python alone holds (USS); an open page is a WebSocket with its state tree, its task and what "
        "it was shown.",
    )
    return Section("identity", "Who is there", rows, notes)


def main() -> None:
    """Measure and write."""
    quiet_logs()
    publish(_measure())


if __name__ == "__main__":
    main()
