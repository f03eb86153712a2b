"""The role edge: Caddy with a configuration that is written once and never changed.

It knows where web and gate are, and nothing else: no database, no keys, no environment.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from cmbcluster.edge.caddy import STOP_SECONDS, Caddy, addresses
from cmbcluster.edge.caddyfile import EdgePlan
from cmbcluster.edge.frontend import finished_frontend
from cmbcluster.edge.places import TcpPlace
from cmbcluster.edge.rooms import close_rooms, open_rooms
from cmbcluster.settings import Settings


class Edge:
    """One replica."""

    name = "edge"
    has_database = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._caddy: Caddy | None = None

    def check(self) -> None:
        """Caddy itself says what it cannot work with."""

    async def open(self, opened: AsyncExitStack) -> None:
        """Listen for browsers. At the end requests under way have their grace."""
        settings = self._settings
        rooms = open_rooms(settings.run_dir)
        opened.callback(close_rooms, rooms)
        frontend = await finished_frontend(settings.data_dir, settings.public_url)
        plan = EdgePlan(
            settings.host,
            settings.port,
            addresses(settings.bind_address),
            TcpPlace.of(settings.web_upstream),
            TcpPlace.of(settings.gate_upstream),
            frontend.client,
            frontend.font,
            settings.public_url,
            behind_proxies=settings.trusted_proxy_hops > 0,
            grace_seconds=settings.drain_seconds,
            linger_seconds=settings.linger_seconds,
        )
        self._caddy = Caddy(rooms)
        longest_seconds = settings.linger_seconds + settings.drain_seconds + STOP_SECONDS
        opened.push_async_callback(self._caddy.stop, longest_seconds)
        await self._caddy.start(plan)

    def why_not_work(self) -> str:
        """Caddy may have ended; it is started again by itself."""
        return "" if self._caddy is not None and self._caddy.runs else "Caddy does not run."
