"""Which of several controllers works: the one that holds the lease. The others wait for it to end.

The lease only saves work: one look at each environment instead of two, one sweep, one search for
orphans. It makes nothing right. A holder that was frozen may wake up after another one took over
and finish what it was about to write; claims and guarded writes in ``recorder`` make that
harmless, and the fault tests run two controllers with no lease at all. It must never be asked
whether a write is allowed.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from cmbcluster.db.database import Database
from cmbcluster.errors import CMBClusterError

log = structlog.get_logger("cmbcluster.controller")

CONTROLLER = "controller"
# Several renewals may fail before the lease is over.
RENEWALS_IN_A_LEASE = 3
SHORTEST_WAIT_SECONDS = 0.02


class Lease:
    """One named lease of one process, of ``seconds`` at a time."""

    def __init__(self, database: Database, name: str, seconds: float) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds
        self.holder = f"{socket.gethostname()[:80]}-{secrets.token_hex(6)}"
        self.epoch: int | None = None
        self._until = 0.0  # monotonic seconds

    @property
    def held(self) -> bool:
        """Whether it is ours as far as we know; another may have taken over while we were frozen."""
        return self.epoch is not None and time.monotonic() < self._until

    async def keep(self, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]) -> None:
        """Run for ever: ``begin`` when the lease becomes ours, ``end`` when it is not any more."""
        working = False
        while True:
            await self._ask()
            if self.held and not working:
                log.info("lease_taken", lease=self._name, epoch=self.epoch)
                working = True
                working = await self._begun(begin, end)
            elif not self.held and working:
                log.warning("lease_lost", lease=self._name)
                working = False
                await end()
            await asyncio.sleep(self._wait_seconds())

    async def release(self) -> None:
        """Let the next one take over at once, if it is ours."""
        epoch, self.epoch = self.epoch, None
        if epoch is None:
            return
        try:
            async with self._database.transaction() as work:
                await work.leases.renew(self._name, self.holder, epoch, await work.now())
        except CMBClusterError as failed:
            # It ends by itself.
            log.warning("lease_not_released", lease=self._name, error=str(failed))

    async def _begun(self, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]) -> bool:
        try:
            await begin()
        except Exception as failed:
            self._note("lease_not_used", failed)
            await end()
            await self.release()
            return False
        return True

    async def _ask(self) -> None:
        # What is told later counts from when it was asked for, so that we never believe it longer than others do.
        asked_at = time.monotonic()
        try:
            async with self._database.transaction() as work:
                now = await work.now()
                expires_at = now + timedelta(seconds=self._seconds)
                if self.epoch is not None and not await work.leases.renew(
                    self._name, self.holder, self.epoch, expires_at
                ):
                    self.epoch = None
                if self.epoch is None:
                    self.epoch = await work.leases.take(self._name, self.holder, now, expires_at)
        except Exception as failed:
            # Whatever it is: who asks no more would look well, and never take over.
            self._note("lease_unknown", failed)
            return
        if self.epoch is not None:
            self._until = asked_at + self._seconds

    def _note(self, what: str, failed: Exception) -> None:
        unexpected = None if isinstance(failed, CMBClusterError) else failed
        log.warning(what, lease=self._name, error=str(failed), exc_info=unexpected)

    def _wait_seconds(self) -> float:
        wait_seconds = self._seconds / RENEWALS_IN_A_LEASE
        if self.held:
            # Not beyond the end: who cannot renew has to stop in time. Afterwards it waits as the others do, and
            # does not ask a database that is away without a pause.
            wait_seconds = min(wait_seconds, self._until - time.monotonic())
        # Jitter keeps those who wait from asking in step.
        return max(wait_seconds * (0.8 + 0.2 * random.random()), SHORTEST_WAIT_SECONDS)  # noqa: S311
