"""One role as a process: it says how it is, waits for its schema, works, and ends without losing anything.

The first signal ends it in order: it is ready no more, works on until nobody leads requests to
it, then takes nothing new, lets what is under way finish within its grace, and closes. The
second ends it at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import structlog

from cmbcluster import logs
from cmbcluster.commands.roles.health import Health
from cmbcluster.commands.roles.schema import Schema
from cmbcluster.commands.up import FORCED, settle_memory
from cmbcluster.edge.places import TcpPlace
from cmbcluster.edge.servers import SocketServer
from cmbcluster.errors import StartRefused
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)


class Role(Protocol):
    """What a process does. ``has_database`` says whether it works with the platform's database."""

    name: str
    has_database: bool

    def check(self) -> None:
        """Raise StartRefused for settings that it cannot work with."""

    async def open(self, opened: AsyncExitStack) -> None:
        """Begin to work; what ``opened`` gets to close is closed in the opposite order."""

    def why_not_work(self) -> str:
        """What is wrong inside the process, or nothing."""


def run_role(settings: Settings, role: Role) -> int:
    """Run until told to stop; the exit status."""
    logs.configure(settings)
    if role.has_database:
        refuse_sqlite(settings, role.name)
    role.check()
    return asyncio.run(RoleProcess(settings, role).run())


def refuse_sqlite(settings: Settings, name: str) -> None:
    """Raise StartRefused for a database that serves one process alone."""
    if settings.sqlalchemy_url.startswith("sqlite"):
        raise StartRefused(
            f"`cmbcluster {name}` shares its database with other processes, and SQLite is for one alone. "
            "Set CMB_DATABASE_URL, such as postgresql://user:password@host/cmbcluster, "
            "or run everything in one process with `cmbcluster up`."
        )


def refuse_local(settings: Settings, name: str) -> None:
    """Raise StartRefused for a runtime whose environments are children of one process."""
    if settings.runtime == "local":
        raise StartRefused(
            f"`cmbcluster {name}` is one of several processes, and environments of this machine belong to one alone. "
            "Set CMB_RUNTIME=kubernetes, or run everything in one process with `cmbcluster up`."
        )


class RoleProcess:
    """The life of one role."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self._settings = settings
        self._role = role
        self._told = asyncio.Event()
        self._schema = Schema(settings) if role.has_database else None
        self._health = Health(role.name, self._why_not_work)

    async def run(self) -> int:
        """Work until a signal; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        place = TcpPlace.of(self._settings.health_bind)
        server = SocketServer(self._health.application, place, lifespan=False, websockets=False, leave_seconds=1)
        async with AsyncExitStack() as outer:
            if self._schema is not None:
                outer.push_async_callback(self._schema.close)
            await server.start()
            outer.push_async_callback(server.stop)
            async with AsyncExitStack() as opened:
                if await self._unless_told(lambda: self._open(opened)):
                    await self._told.wait()
                self._health.reason = "It is ending."
                logger.info("ending", role=self._role.name, within_seconds=self._settings.drain_seconds)
        logger.info("ended", role=self._role.name)
        return 0

    async def _open(self, opened: AsyncExitStack) -> None:
        if self._schema is not None:
            await self._schema.wait(self._health)
        await self._role.open(opened)
        self._health.reason = ""
        logger.info("ready", role=self._role.name)
        settle_memory()

    async def _unless_told(self, do: Callable[[], Awaitable[None]]) -> bool:
        """Do it, unless told to stop meanwhile; whether it was done."""
        doing = asyncio.ensure_future(do())
        told = asyncio.ensure_future(self._told.wait())
        await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if doing.done():
            doing.result()
            return True
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return False

    async def _why_not_work(self) -> str:
        if reason := self._role.why_not_work():
            return reason
        return await self._schema.why_not_work() if self._schema is not None else ""

    def _stop(self) -> None:
        if self._told.is_set():
            os._exit(FORCED)
        self._health.reason = "It is ending."
        self._told.set()
