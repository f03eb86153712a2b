"""Requests a second through the edge with authorisation, against configurable-http-proxy without.

Caddy, gate and access service are the real ones over a real database; both proxies stand in
front of the same application and take turns.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.db.database import Database
from cmbcluster.db.models import Application, Environment
from cmbcluster.domain.actors import Role, Tier
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE
from cmbcluster.domain.lifecycle import Desired, Phase
from cmbcluster.edge.caddy import Caddy, addresses
from cmbcluster.edge.caddyfile import EdgePlan
from cmbcluster.edge.gate import Gate
from cmbcluster.edge.gate_server import GateServer
from cmbcluster.edge.relay import Relay
from cmbcluster.edge.rooms import EdgeRooms, close_rooms, open_rooms
from cmbcluster.identity.port import SignedIn
from cmbcluster.services.access import AccessService
from cmbcluster.services.api_tokens import ApiTokenService
from cmbcluster.services.rates import RateService
from cmbcluster.services.sessions import SessionService
from cmbcluster.settings import Settings
from tests.bench.report import Row, Section, median, millis, publish, quantile
from tests.bench.surroundings import answers, child, data_folder, free_port, quiet_logs, until, upstream

RIVAL = "configurable-http-proxy"
RIVAL_VERSION = "5.3.0"
CONNECTIONS = 32
ROUNDS = 5
ROUND_SECONDS = 4
QUESTIONS = 3000
GOAL_RATIO = 1.0
SLUG = "bench-k7q2mx"
_PER_SECOND = re.compile(r"Requests/sec:\s+([\d.]+)")
_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Edge:
    """What a client needs to pass the real edge."""

    port: int
    rooms: EdgeRooms
    host: str
    cookie: str


@dataclass(frozen=True)
class Load:
    """What one round of wrk saw."""

    per_second: float
    p50_seconds: float
    p99_seconds: float


@asynccontextmanager
async def edge(data: Path, application_port: int) -> AsyncIterator[Edge]:
    """Edge, gate and access service as ``cmbcluster up`` puts them together, one environment, one signed-in owner."""
    settings = Settings(data_dir=data, port=free_port(), _env_file=None)
    data.mkdir()
    database = Database(settings.sqlalchemy_url)
    await database.migrate()
    bus = MemoryBus()
    keyring = Keyring((("bench", b"k" * 32),))
    sessions = SessionService(database, bus, settings, keyring)
    tokens = ApiTokenService(database, bus, settings, RateService(settings))
    access = AccessService(database, bus, settings, sessions, tokens, keyring)
    rooms = open_rooms(settings.run_dir)
    relay = Relay(access, rooms.relay)
    gate = GateServer(Gate(access, settings, relay), rooms.gate)
    caddy = Caddy(rooms)
    host = settings.environment_host(SLUG)
    try:
        cookie = await _owner(database, sessions, access, host, application_port)
        await relay.start()
        await gate.start()
        binds = addresses(settings.bind_address)
        await caddy.start(EdgePlan(settings.host, settings.port, binds, rooms.web, rooms.gate, None))
        yield Edge(settings.port, rooms, host, cookie)
    finally:
        await caddy.stop()
        await gate.stop()
        await relay.stop()
        close_rooms(rooms)
        await database.close()


async def _owner(
    database: Database, sessions: SessionService, access: AccessService, host: str, application_port: int
) -> str:
    """Sign somebody in, give them a running environment, and cross over to it; its cookie."""
    identity = SignedIn("bench", "1", "1@example.org", "Person", Role.USER, Tier.PREMIUM)
    token = await sessions.sign_in(identity, browser="bench", address="127.0.0.1")
    actor = await sessions.find(token)
    if actor is None:
        raise RuntimeError("the session that was just made is not there")
    async with database.transaction() as work:
        now = await work.now()
        work.applications.add(_application())
        await work.flush()
        work.environments.add(_environment(actor.person(), now, application_port))
    address = await access.mint(actor, SLUG)
    code = parse_qs(urlsplit(address).query)["code"][0]
    return f"{ENVIRONMENT_COOKIE}={await access.redeem(host, code)}"


def _application() -> Application:
    return Application(
        id="bench", name="Bench", category="Bench", summary="", icon="custom", position=1, size="small",
        needs_keys=[], seed_digest="bench",
    )  # fmt: skip


def _environment(owner_id: UUID, now: datetime, application_port: int) -> Environment:
    return Environment(
        owner_id=owner_id, name="bench", slug=SLUG, application_id="bench",
        source={"requirements": [], "python": "3.11"}, program={"command": ["x"], "port": 8501, "health_path": "/"},
        cpu_millis=1000, memory_bytes=2**30, processes=64, workspace_bytes=2**30, uptime_seconds=3600,
        desired=Desired.RUNNING.value, phase=Phase.RUNNING.value, observed_generation=1,
        endpoint_host="127.0.0.1", endpoint_port=application_port,
        created_at=now, asked_at=now, phase_since=now, running_since=now,
    )  # fmt: skip


@asynccontextmanager
async def rival(folder: Path, application_port: int) -> AsyncIterator[int]:
    """configurable-http-proxy from npm with one route to the application; the port it listens on."""
    words = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]
    await asyncio.to_thread(subprocess.run, [*words, f"{RIVAL}@{RIVAL_VERSION}"], check=True)
    program = folder / "node_modules" / ".bin" / RIVAL
    port = free_port()
    options = ("--ip", "127.0.0.1", "--port", str(port), "--api-port", str(free_port()), "--log-level", "error")
    target = f"http://127.0.0.1:{application_port}"
    with child(str(program), *options, "--default-target", target, stderr=subprocess.DEVNULL):
        await until(lambda: answers(port), pause_seconds=0.05, most_seconds=20)
        yield port


async def load(port: int, *headers: str, path: str = "/", connections: int = CONNECTIONS) -> Load:
    """One round of wrk."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{ROUND_SECONDS}s", "--latency"]
    for header in headers:
        words += ["-H", header]
    process = await asyncio.create_subprocess_exec(*words, f"http://127.0.0.1:{port}{path}", stdout=subprocess.PIPE)
    said = (await process.communicate())[0].decode()
    per_second = _PER_SECOND.search(said)
    if per_second is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"the load was not answered as it should:\n{said}")
    parts = {part: float(number) * _UNITS[unit] for part, number, unit in _LATENCY.findall(said)}
    if parts.keys() != {"50", "99"}:
        raise RuntimeError(f"wrk said something unexpected:\n{said}")
    return Load(float(per_second[1]), parts["50"], parts["99"])


async def _gate_latency(there: Edge) -> list[float]:
    seconds = await ask_gate(there, QUESTIONS)
    return seconds[QUESTIONS // 10 :]


async def ask_gate(there: Edge, count: int, per_second: float = 0.0) -> list[float]:
    """Seconds of each of ``count`` answers, asked by a program of its own as fast as they come or at a pace."""
    words = [sys.executable, "-m", "tests.bench.gate_client", str(there.rooms.gate), there.host, str(count)]
    words.append(str(per_second))
    process = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    said, _ = await process.communicate(there.cookie.encode())
    seconds: list[float] = json.loads(said)
    return seconds


async def _measure() -> Section:
    with data_folder() as data:
        folder = data.parent / "rival"
        async with (
            upstream() as application,
            edge(data, application) as there,
            rival(folder, application) as rival_port,
        ):
            mine = (f"Host: {there.host}", f"Cookie: {there.cookie}")
            await load(there.port, *mine)
            await load(rival_port)
            ours, theirs, bare = [], [], []
            for _ in range(ROUNDS):
                ours.append(await load(there.port, *mine))
                theirs.append(await load(rival_port))
                bare.append(await load(application))
            gate = await _gate_latency(there)
    return _section(ours, theirs, bare, gate)


def _section(ours: list[Load], theirs: list[Load], bare: list[Load], gate: list[float]) -> Section:
    ratio = median([mine.per_second / other.per_second for mine, other in zip(ours, theirs, strict=True)])
    rows = (
        _row("edge with authorisation", ours),
        _row(f"{RIVAL} {RIVAL_VERSION} without", theirs),
        _row("the application alone", bare),
        Row(
            f"edge against {RIVAL}",
            f"{ratio:.2f} ×",
            f"median of {ROUNDS} rounds",
            f"≥ {GOAL_RATIO:.1f} ×",
            ratio >= GOAL_RATIO,
        ),
        Row("an answer of the gate alone", millis(median(gate)), f"p99 {millis(quantile(gate, 0.99))}"),
    )
    notes = (
        f"`wrk` with one thread and {CONNECTIONS} kept connections, {ROUND_SECONDS} s a round, the two proxies and the "
        "application by turns, everything on this machine and its few cores, so that the load generator and the "
        "application take their share from each proxy alike. The edge is Caddy with the configuration of "
        "`cmbcluster up`; every request is authorised by the gate over its socket and may be answered from its memory "
        "of at most two seconds. The rival has one route and asks nobody.",
        f"The gate's own answer is measured from its socket, {QUESTIONS} questions one after the other.",
    )
    return Section("edge", "Through the edge", rows, notes)


def _row(what: str, loads: list[Load]) -> Row:
    return Row(
        what,
        f"{median([one.per_second for one in loads]):.0f} requests/s",
        f"p50 {millis(median([one.p50_seconds for one in loads]))}, "
        f"p99 {millis(median([one.p99_seconds for one in loads]))}",
    )


def main() -> None:
    """Measure and write."""
    quiet_logs()
    publish(asyncio.run(_measure()))


if __name__ == "__main__":
    main()
