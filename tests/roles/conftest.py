"""The roles as processes on one machine, over PostgreSQL, with an application to reach."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cmbcluster.crypto.keyring import Keyring
from cmbcluster.edge.frontend import find_bun, project_root
from cmbcluster.errors import StartRefused
from tests.edge.stand_ins import echo_server, free_port
from tests.postgres import Databases
from tests.roles.process import APPLICATION_PORT

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
END_SECONDS = 15.0
DRAIN_SECONDS = 3
IN_MEMORY = "tests.roles.process"  # the command with a runtime in memory


class Process:
    """One role. Its health is asked where nobody else gets."""

    def __init__(self, role: str, folder: Path, settings: dict[str, str], module: str = IN_MEMORY) -> None:
        self.role, self.health_port = role, free_port()
        surroundings = {name: value for name, value in os.environ.items() if not name.upper().startswith("CMB_")}
        surroundings |= settings | {
            "CMB_HEALTH_BIND": f"127.0.0.1:{self.health_port}",
            "CMB_LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
        }
        self.log = folder / f"{role}-{self.health_port}.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, role],
                cwd=folder,
                env=surroundings,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def health(self, which: str) -> tuple[int, str]:
        """Status and reason of ``live`` or ``ready``; status 0 when nobody answers."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.health_port}/health/{which}", timeout=10)
        except httpx.HTTPError:
            return 0, ""
        return answer.status_code, answer.json().get("reason", "")

    async def until_ready(self) -> None:
        """Return when it says so."""
        await self.until("ready", 200)

    async def until(self, which: str, status: int, reason_has: str = "") -> str:
        """Return its reason when it has that status, for that reason."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            seen, reason = await asyncio.to_thread(self.health, which)
            if seen == status and reason_has in reason:
                return reason
            if self.process.poll() is not None:
                raise AssertionError(f"{self.role} ended with {self.process.returncode}:\n{self.log.read_text()}")
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.role} is {seen} ({reason}) and not {status}:\n{self.log.read_text()}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it in order; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


class Roles:
    """Starts roles that belong together, and ends those that still run."""

    def __init__(self, folder: Path, database: str, application_port: int, module: str = IN_MEMORY) -> None:
        self._folder = folder
        self._module = module
        self.keys = keys = folder / "keys.json"
        Keyring.of_file(keys)
        self.port = free_port()
        web, gate, relay = free_port(), free_port(), free_port()
        self.settings = {
            "CMB_DATABASE_URL": database,
            "CMB_RUNTIME": "kubernetes",
            "CMB_WORKSPACE_IMAGE": "none",
            "CMB_DATA_DIR": str(folder / "data"),
            "CMB_TOKEN_KEYS_FILE": str(keys),
            "CMB_PORT": str(self.port),
            "CMB_WEB_BIND": f"127.0.0.1:{web}",
            "CMB_WEB_UPSTREAM": f"localhost:{web}",
            "CMB_GATE_BIND": f"127.0.0.1:{gate}",
            "CMB_GATE_UPSTREAM": f"localhost:{gate}",
            "CMB_RELAY_BIND": f"127.0.0.1:{relay}",
            "CMB_DRAIN_SECONDS": str(DRAIN_SECONDS),
            # No bus joins these processes, so what a ring would hurry has to come by itself.
            "CMB_SWEEP_SECONDS": "0.2",
            APPLICATION_PORT: str(application_port),
        }
        self.started: list[Process] = []

    @property
    def url(self) -> str:
        """The dashboard's address."""
        return f"http://localhost:{self.port}"

    def start(self, role: str, **changes: str) -> Process:
        """One more process."""
        self.started.append(Process(role, self._folder, self.settings | changes, self._module))
        return self.started[-1]

    def migrate(self) -> None:
        """Bring the schema up to date."""
        migrating = self.start("migrate")
        assert migrating.process.wait(READY_SECONDS) == 0, migrating.log.read_text()

    def end(self) -> None:
        """End what runs, by force where it must be."""
        for each in reversed(self.started):
            try:
                each.end()
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()


@pytest.fixture
async def database(postgres: Databases) -> AsyncIterator[str]:
    """The address of an empty database of the test's own."""
    made = await postgres.make_empty()
    yield made
    await postgres.drop(made)


@pytest.fixture
async def roles(tmp_path: Path, database: str) -> AsyncIterator[Roles]:
    """Nothing runs yet."""
    async with echo_server() as port:
        made = Roles(tmp_path, database, port)
        try:
            yield made
        finally:
            await asyncio.to_thread(made.end)


@pytest.fixture(scope="session")
def pages() -> None:
    """The pages are built, as they are in an image."""
    try:
        find_bun(project_root())
    except StartRefused as absent:
        if os.environ.get("CMB_REQUIRE_ALL"):
            pytest.fail(str(absent))
        pytest.skip(str(absent))
    subprocess.run([sys.executable, "-m", "cmbcluster", "build-pages"], cwd=ROOT, check=True, timeout=300)
