"""What a person waits for: the first paint of Home, its weight, and the answer to a click among 100 sessions."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Response, sync_playwright
from websockets.asyncio.client import ClientConnection, connect

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.bench.report import Row, Section, least_and_most, median, millis, publish, quantile
from tests.bench.running import Up, up
from tests.bench.surroundings import data_folder

PAINTS = 5
SESSIONS = 100
PAUSE_SECONDS = 5.0  # of one person, on the average, between two clicks
CLICKS_SECONDS = 30.0
ANSWER_SECONDS = 10.0
GOAL_PAINT_SECONDS = 1.0
GOAL_SCRIPT_BYTES = 200 * 1024
GOAL_STYLE_BYTES = 20 * 1024
GOAL_ANSWER_SECONDS = 0.040
PEOPLE = ("ada", "elena", "ravi")
OFFERS = ("jupyterlab", "denario")  # Another one each time, so that there is something to answer.
HYDRATE = "reflex___state____state.hydrate_and_load"
BEGIN = "reflex___state____state.cmbcluster___web___launch____launch.begin"
KIB = 1024
_PAINTED = "() => performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)[0]"
_SHOWN = "() => document.querySelector('main h1') !== null"


@dataclass
class Visit:
    """One look at Home with an empty browser cache."""

    paint_seconds: float
    weight: dict[str, int] = field(default_factory=dict)


def visit(browser: Browser, here: Up, token: str) -> Visit:
    """Go to Home, signed in, and wait until nothing more is fetched."""
    context = browser.new_context()
    context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": here.url, "httpOnly": True}])
    page = context.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(here.url)
    page.wait_for_function(_SHOWN)
    page.wait_for_load_state("networkidle")
    seen = Visit(page.evaluate(_PAINTED) / 1000)
    for answer in answers:
        kind = answer.request.resource_type
        seen.weight[kind] = seen.weight.get(kind, 0) + answer.request.sizes()["responseBodySize"]
    context.close()
    return seen


def look(here: Up) -> list[Visit]:
    """Visits with Chromium, after one that only warms the server."""
    program = os.environ.get("CMB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    token = here.sign_in()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        visit(browser, here, token)
        visits = [visit(browser, here, token) for _ in range(PAINTS)]
        browser.close()
    return visits


class Tab:
    """One person's open Catalogue, spoken to as the browser does."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())
        self.seconds: list[float] = []

    async def open(self) -> None:
        """Connect to the events and load the page."""
        await self._until(lambda said: said.startswith("0"))
        await self._socket.send("40/_event,")
        await self._until(lambda said: said.startswith("40/_event"))
        await self._send(HYDRATE, {})
        await self._until(lambda said: '"who_rx_state_":"in"' in said)

    async def close(self) -> None:
        """Close the tab."""
        await self._socket.close()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def click(self, number: int) -> None:
        """Open the launch dialog of one application, and wait until it is filled."""
        offer = OFFERS[number % len(OFFERS)]
        while not self._said.empty():
            self._said.get_nowait()
        began = time.perf_counter()
        await self._send(BEGIN, {"application_id": offer})
        await self._until(lambda said: '"offer_rx_state_"' in said and f'"{offer}"' in said)
        self.seconds.append(time.perf_counter() - began)

    async def click_now_and_then(self, until: float) -> None:
        """Click with pauses of chance until the clock says so."""
        number = 0
        while True:
            await asyncio.sleep(random.expovariate(1 / PAUSE_SECONDS))
            if time.perf_counter() > until:
                return
            await self.click(number)
            number += 1

    async def _send(self, name: str, payload: dict[str, str]) -> None:
        router = {"pathname": "/catalogue", "asPath": "/catalogue"}
        event = ["event", {"name": name, "payload": payload, "router_data": router}]
        await self._socket.send("42/_event," + json.dumps(event))

    async def _until(self, wanted: Callable[[str], bool]) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            while not wanted(await self._said.get()):
                continue

    async def _read(self) -> None:
        """Take what the server says, as it comes."""
        async for said in self._socket:
            text = said if isinstance(said, str) else said.decode()
            if text == "2":
                await self._socket.send("3")  # The protocol's own ping.
            else:
                self._said.put_nowait(text)


async def clicks(here: Up, count: int) -> list[float]:
    """Seconds of every answer while ``count`` sessions are open and their people click now and then."""
    tabs: list[Tab] = []
    try:
        for number in range(count):
            token = await asyncio.to_thread(here.sign_in, PEOPLE[number % len(PEOPLE)])
            socket = await connect(
                f"ws://localhost:{here.port}/_event/?EIO=4&transport=websocket&token=bench-{number}",
                additional_headers={"Cookie": f"{SESSION_COOKIE}={token}", "Origin": here.url},
                compression=None,
            )
            tabs.append(Tab(socket))
            await tabs[-1].open()
        # What signing in made every open page look at again is over by then.
        await asyncio.sleep(2)
        until = time.perf_counter() + CLICKS_SECONDS
        await asyncio.gather(*(tab.click_now_and_then(until) for tab in tabs))
    finally:
        await asyncio.gather(*(tab.close() for tab in tabs))
    return [seconds for tab in tabs for seconds in tab.seconds]


def _measure() -> Section:
    with data_folder() as data, up(data) as here:
        visits = look(here)
        answers = asyncio.run(clicks(here, SESSIONS))
    return _section(visits, answers)


def _section(visits: list[Visit], answers: list[float]) -> Section:
    paints = [one.paint_seconds for one in visits]
    script, style = (max(one.weight.get(kind, 0) for one in visits) for kind in ("script", "stylesheet"))
    late = quantile(answers, 0.99)
    rows = (
        Row(
            "first contentful paint of Home",
            millis(median(paints)),
            least_and_most(paints),
            f"≤ {millis(GOAL_PAINT_SECONDS)}",
            median(paints) <= GOAL_PAINT_SECONDS,
        ),
        Row(
            "script of Home over the wire",
            _kib(script),
            "",
            f"≤ {_kib(GOAL_SCRIPT_BYTES)}",
            script <= GOAL_SCRIPT_BYTES,
        ),
        Row("styles of Home over the wire", _kib(style), "", f"≤ {_kib(GOAL_STYLE_BYTES)}", style <= GOAL_STYLE_BYTES),
        Row(
            f"answer to a click with {SESSIONS} sessions open, median",
            millis(median(answers)),
            f"{len(answers)} clicks",
        ),
        Row(
            f"answer to a click with {SESSIONS} sessions open, p99",
            millis(late),
            f"slowest {millis(max(answers))}",
            f"≤ {millis(GOAL_ANSWER_SECONDS)}",
            late <= GOAL_ANSWER_SECONDS,
        ),
    )
    notes = (
        f"`cmbcluster up` behind its own edge. Paint: Chromium without a window, signed in, an empty browser cache "
        f"each of {PAINTS} times (after one visit that warms the server), first-contentful-paint as the browser "
        "tells it. "
        "Weight: compressed bytes of the bodies Chromium fetched for Home until the network was quiet.",
        f"Click: {SESSIONS} signed-in sessions hold a WebSocket with the Catalogue open; each person opens a launch "
        f"dialog every {PAUSE_SECONDS:.0f} s on the average for {CLICKS_SECONDS:.0f} s. A click is a Reflex event that "
        "asks the services and the database and is answered with the dialog's contents. The clients share the machine "
        "with the platform.",
    )
    return Section("web", "At the screen", rows, notes)


def _kib(size: int) -> str:
    return f"{size / KIB:.0f} KiB"


def main() -> None:
    """Measure and write."""
    publish(_measure())


if __name__ == "__main__":
    main()
