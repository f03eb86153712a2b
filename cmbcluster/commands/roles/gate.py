"""The role gate: tells the edge who may reach an environment and where it is.

A WebSocket is asked about at its handshake only, so the replica that let it in carries it
through its own relay and asks again while it is open. That needs the database alone: a ring
of the bus makes answers younger, and a lost one delays the end of a connection by seconds.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from cmbcluster.commands.roles.keys import check_signing_keys
from cmbcluster.edge.gate import Gate as GateApplication
from cmbcluster.edge.gate_server import GateServer
from cmbcluster.edge.places import TcpPlace
from cmbcluster.edge.relay import Relay
from cmbcluster.errors import StartRefused
from cmbcluster.settings import Settings
from cmbcluster.wiring import access_alone

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


class Gate:
    """One replica."""

    name = "gate"
    has_database = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self) -> None:
        """The edge must be able to reach the relay of this very replica."""
        check_signing_keys(self._settings, self.name)
        if not self._settings.relay_upstream and TcpPlace.of(self._settings.relay_bind).host in _EVERYWHERE:
            raise StartRefused(
                f"CMB_RELAY_BIND={self._settings.relay_bind} says where WebSockets are taken, but not how the edge "
                "reaches this replica. Set CMB_RELAY_UPSTREAM to this machine's or pod's own address and the same port."
            )

    async def open(self, opened: AsyncExitStack) -> None:
        """Answer and carry. At the end no new ticket is given, and open connections have their grace."""
        settings = self._settings
        access = await opened.enter_async_context(access_alone(settings))
        relay = Relay(access, TcpPlace.of(settings.relay_bind), reached_at=settings.relay_upstream)
        gate = GateServer(
            GateApplication(access, settings, relay),
            TcpPlace.of(settings.gate_bind),
            leave_seconds=settings.drain_seconds,
        )
        opened.push_async_callback(relay.stop)
        await relay.start()
        opened.push_async_callback(relay.drain, settings.drain_seconds)
        opened.push_async_callback(gate.stop)
        await gate.start()
        opened.push_async_callback(asyncio.sleep, settings.linger_seconds)

    def why_not_work(self) -> str:
        """Nothing of its own can be wrong."""
        return ""
