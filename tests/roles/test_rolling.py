"""Every replica of every role is replaced, as an upgrade does it, while people and programs work (F25)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, WebSocketException

from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.edge.places import TcpPlace
from cmbcluster.edge.servers import SocketServer
from tests.edge.stand_ins import free_port
from tests.roles.conftest import Roles
from tests.roles.pairs import ORDER
from tests.roles.process import APPLICATION_PORT, KEPT_RUNS
from tests.roles.replicated import REPLICAS, Replicated
from tests.security.hostile import HYDRATE, Refused

HERE = 0
LINGER_SECONDS = 3
PAUSE_SECONDS = 0.05
# The controllers are replaced meanwhile, one after the other, and what is next waits for the next one's lease.
LAUNCH_SECONDS = 90.0
IN = '"who_rx_state_": "in"'
# A socket that comes again may come to a replica that is not replaced yet, so once for each that carries it.
CLOSED_AT_MOST = 2 * REPLICAS


@dataclass
class Application:
    """What runs in every environment: says which numbers it was sent."""

    numbers: Counter[int] = field(default_factory=Counter)
    port: int = 0

    async def answer(self, request: Request) -> Response:
        """Counts what is sent off."""
        if request.method == "POST":
            self.numbers[int((await request.json())["n"])] += 1
        return JSONResponse({"path": request.url.path})

    async def repeat(self, socket: WebSocket) -> None:
        """Says everything again."""
        await socket.accept()
        await socket.send_text("welcome")
        with suppress(WebSocketDisconnect):
            async for text in socket.iter_text():
                await socket.send_text(text)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        """On a port of its own, with connections that stay open as long as anybody likes."""
        port = free_port()
        routes = [Route("/hello", self.answer, methods=["GET", "POST"]), WebSocketRoute("/ws", self.repeat)]
        place = TcpPlace("127.0.0.1", port)
        server = SocketServer(Starlette(routes=routes), place, lifespan=False, websockets=True, leave_seconds=1)
        await server.start()
        try:
            yield port
        finally:
            await server.stop()


@dataclass
class Load:
    """What people and programs do all the time, and how it went."""

    platform: Replicated
    client: httpx.AsyncClient
    headers: dict[str, str]
    slug: str
    cookie: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    said: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    closed: Counter[str] = field(default_factory=Counter)
    launched: list[str] = field(default_factory=list)
    sent: int = 0

    async def ask(self, method: str, path: str, name: str = "", **more: Any) -> httpx.Response | None:
        """One request; anything but its expected answer is kept."""
        since = time.monotonic()
        try:
            answer = await self.client.request(method, path, **more)
        except httpx.HTTPError as failed:
            self.wrong.append(f"{method} {path}: {failed!r} after {time.monotonic() - since:.2f} s")
            return None
        self.said[name or f"{method} {path} {answer.status_code}"] += 1
        if not answer.is_success:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer

    async def look_at_pages(self) -> None:
        """A person goes about the dashboard, and a script beside it."""
        while not self.over.is_set():
            await self.ask("GET", "/")
            await self.ask("GET", "/auth/standing")
            await self.ask("GET", "/api/v1/environments", headers=self.headers)
            await asyncio.sleep(PAUSE_SECONDS)

    async def work_inside(self) -> None:
        """Requests to the application, those too that must not be sent twice."""
        headers = {"Host": self.platform.host(self.slug), "Cookie": self.cookie, "Origin": ""}
        while not self.over.is_set():
            await self.ask("GET", "/hello", headers=headers)
            self.sent += 1
            await self.ask("POST", "/hello", headers=headers, json={"n": self.sent})
            await asyncio.sleep(PAUSE_SECONDS)

    async def launch(self) -> None:
        """One environment after the other, until it runs and until it is gone."""
        while not self.over.is_set():
            number = len(self.launched) + 1
            key = self.headers | {"Idempotency-Key": f"k{number}"}
            made = await self.ask("POST", "/api/v1/environments", json=ORDER | {"name": f"l{number}"}, headers=key)
            if made is None or not made.is_success:
                continue
            which = f"/api/v1/environments/{made.json()['id']}"
            self.launched.append(made.json()["id"])
            await self._until(which, "running")
            await self.ask("POST", f"{which}/stop", "stop", headers=self.headers)
            await self._until(which, "stopped")
            await self.ask("DELETE", which, "delete", headers=self.headers)

    async def _until(self, which: str, phase: str) -> None:
        since = time.monotonic()
        while True:
            seen = await self.ask("GET", which, "look", headers=self.headers)
            if seen is not None and seen.is_success and seen.json()["phase"] == phase:
                return
            if time.monotonic() - since > LAUNCH_SECONDS:
                at = seen.text if seen is not None else "no answer"
                raise AssertionError(f"not {phase} but {at}\n{self.platform.said_by('controller')}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def hold_a_socket(self) -> None:
        """An environment's socket, opened again at once when it is closed."""
        while not self.over.is_set():
            try:
                socket = await self.platform.socket(HERE, self.slug, self.cookie)
            except (OSError, WebSocketException) as failed:
                self.wrong.append(f"socket of the environment: {failed!r}")
                continue
            try:
                while not self.over.is_set():
                    await socket.send("still there")
                    assert "still there" in str(await socket.recv())
                    self.said["message"] += 1
                    await asyncio.sleep(PAUSE_SECONDS)
            except ConnectionClosed:
                self.closed["environment"] += 1
            finally:
                await socket.close()

    def hold_a_page(self) -> None:
        """A page's socket, which shows its person each time that it is opened. Blocking."""
        cookie = self.client.cookies[SESSION_COOKIE]
        while not self.over.is_set():
            try:
                with self.platform.tab(HERE, cookie, str(uuid4())) as tab:
                    tab.send(HYDRATE, path="/environments")
                    tab.until(IN)
                    self.said["page"] += 1
                    while tab.connected and not self.over.is_set():
                        time.sleep(PAUSE_SECONDS)
            except (Refused, AssertionError) as failed:
                self.wrong.append(f"socket of a page: {failed!r}")
                continue
            if not self.over.is_set():
                self.closed["page"] += 1


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    """It is there as long as the test."""
    made = Application()
    async with made.served() as made.port:
        yield made


@pytest.fixture
async def platform(roles: Roles, application: Application, tmp_path: Path, pages: None) -> AsyncIterator[Replicated]:
    """Ready."""
    made = Replicated(roles)
    try:
        await made.start(
            CMB_LINGER_SECONDS=str(LINGER_SECONDS),
            CMB_DRAIN_SECONDS="1",
            CMB_CONTROLLER_LEASE_SECONDS="3",
            CMB_API_REQUESTS_PER_MINUTE="100000",
            **{APPLICATION_PORT: str(application.port), KEPT_RUNS: str(tmp_path)},
        )
        yield made
    finally:
        for each in roles.started:
            each.process.kill()
        await made.close()


async def test_f25_no_request_fails_while_every_replica_is_replaced(
    platform: Replicated, application: Application, tmp_path: Path
) -> None:
    async with platform.browser(HERE, "elena") as elena:
        token = await platform.token(elena)
        slug = (await platform.running(elena, token))["slug"]
        headers = {"Authorization": f"Bearer {token}", "Cookie": ""}
        load = Load(platform, elena, headers, slug, await platform.enter(elena, slug))
        async with asyncio.TaskGroup() as working:
            for each in (load.look_at_pages, load.work_inside, load.launch, load.hold_a_socket):
                working.create_task(each())
            working.create_task(asyncio.to_thread(load.hold_a_page))
            try:
                await platform.roll()
            finally:
                load.over.set()
    refused = {role: service.refused for role, service in platform.services.items()}
    print(f"{sum(load.said.values())} answers {dict(load.said)}, closed {dict(load.closed)}, refused {refused}")
    print(f"launched {len(load.launched)}", *load.wrong, sep="\n")
    assert load.wrong == []
    assert not any(refused.values())
    # What was sent off came once.
    assert application.numbers == Counter(range(1, load.sent + 1))
    started = (tmp_path / "started").read_text().split()
    assert len(load.launched) > REPLICAS
    assert sorted(started[1:]) == sorted(load.launched)
    assert 0 < load.closed["environment"] <= CLOSED_AT_MOST
    assert 0 < load.closed["page"] <= CLOSED_AT_MOST
