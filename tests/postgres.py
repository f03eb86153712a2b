"""A real PostgreSQL for tests: the one that is named, or Debian's own in a folder that goes again.

``CMB_TEST_POSTGRES_URL`` names a server and somebody who may make databases there. Each test gets
a database of its own, copied from one that was migrated once.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil

from cmbcluster.database_settings import sqlalchemy_address
from cmbcluster.db.database import Database

VARIABLE = "CMB_TEST_POSTGRES_URL"
MISSING = f"needs PostgreSQL: apt-get install postgresql, or set {VARIABLE}"
PROGRAMS = Path("/usr/lib/postgresql")
START_SECONDS = 30
# A test's data need not outlive the machine, only the server; nothing else is relaxed.
OPTIONS = "-c fsync=off -c max_connections=200 -c listen_addresses=127.0.0.1 -c unix_socket_directories="


def programs() -> Path | None:
    """The folder of Debian's newest PostgreSQL, if it is installed."""
    found = sorted(PROGRAMS.glob("*/bin/postgres"), key=lambda path: int(path.parent.parent.name))
    return found[-1].parent if found else None


def available() -> bool:
    """Whether tests can have a PostgreSQL here."""
    return bool(os.environ.get(VARIABLE)) or programs() is not None


class OwnServer:
    """A server of ours on a free port, which tests may kill and start again."""

    def __init__(self, folder: Path, port: int) -> None:
        found = programs()
        assert found is not None, MISSING
        self._programs = found
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = port
        self.url = f"postgresql://cmb@127.0.0.1:{port}/postgres"

    def make(self) -> None:
        """Make the empty cluster of databases."""
        words = ["-D", str(self._data), "-U", "cmb", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        subprocess.run(
            [*_as_account(), str(self._programs / "initdb"), *words, "--locale=C.UTF-8"],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._control("start", "-l", str(self._log), "-o", f"-p {self.port} {OPTIONS}", "-t", str(START_SECONDS))

    def stop(self, mode: str = "immediate") -> None:
        """Stop; *immediate* is what a crash is to those who are connected."""
        self._control("stop", "-m", mode)

    def kill(self) -> None:
        """Kill its first process; the others end when they notice, and only then may it be started again."""
        first = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        all_of_them = [first, *first.children(recursive=True)]
        first.kill()
        psutil.wait_procs(all_of_them, START_SECONDS)

    def _control(self, *words: str) -> None:
        done = subprocess.run(
            [*_as_account(), str(self._programs / "pg_ctl"), "-D", str(self._data), "-w", "-s", *words],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            said = self._log.read_text(encoding="utf-8")[-2000:] if self._log.exists() else ""
            raise RuntimeError(f"pg_ctl {words[0]}: {done.stderr}\n{said}")


def _as_account() -> list[str]:
    # PostgreSQL refuses to be run by root.
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """A server of ours, gone afterwards with all it held."""
    # Not in the tests' own folders, which the server's account cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="cmb-test-postgres-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        server = OwnServer(folder, free_port())
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Databases:
    """Databases of tests on one server, each a copy of one that was migrated once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._template = f"cmb_template_{uuid4().hex[:8]}"
        self._migrated = False

    async def make(self) -> str:
        """The address of a new database with the newest schema."""
        if not self._migrated:
            await self._run(f'CREATE DATABASE "{self._template}"')
            template = Database(sqlalchemy_address(self._at(self._template)))
            await template.migrate()
            await template.close()
            self._migrated = True
        name = f"cmb_test_{uuid4().hex[:12]}"
        await self._run(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"')
        return self._at(name)

    async def make_empty(self) -> str:
        """The address of a new database without a table."""
        name = f"cmb_test_{uuid4().hex[:12]}"
        await self._run(f'CREATE DATABASE "{name}"')
        return self._at(name)

    async def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        await self._run(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')

    async def forget(self) -> None:
        """Remove the template."""
        if self._migrated:
            await self.drop(self._at(self._template))

    def _at(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def databases() -> Iterator[Databases]:
    """Databases on the server that is named, or on one of ours."""
    if named := os.environ.get(VARIABLE):
        made = Databases(named)
        try:
            yield made
        finally:
            asyncio.run(made.forget())
        return
    with own_server() as server:
        yield Databases(server.url)
