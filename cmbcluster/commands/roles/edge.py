"""The role edge: Caddy with a configuration that is written once and never changed.

It knows where web and gate are, and nothing else: no database, no keys, no environment.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from cmbcluster.edge.caddy import STOP_SECONDS, Caddy, addresses
from cmbcluster.edge.caddyfile import EdgePlan
from cmbcluster.edge.frontend import finished_frontend
from cmbcluster.edge.places import TcpPlace
from cmbcluster.edge.rooms import close_rooms, open_rooms
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)

# A platform whose web or gate is away for longer is better told of by the edge than by nobody.
REACH_SECONDS = 60.0
DIAL_SECONDS = 1.0
PAUSE_SECONDS = 0.2


async def reached(places: tuple[TcpPlace, ...], within_seconds: float) -> bool:
    """Wait until each has taken a connection of ours; whether all have.

    A network whose policies name us may learn our address seconds after we have it, and drops
    what we send until then. Requests that came to us meanwhile would fail, while those that go
    to another edge do not.
    """
    try:
        async with asyncio.timeout(within_seconds):
            await asyncio.gather(*(_until_taken(place) for place in places))
    except TimeoutError:
        return False
    return True


async def _until_taken(place: TcpPlace) -> None:
    while True:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                _, writer = await asyncio.open_connection(place.host, place.port)
        except OSError:  # TimeoutError is one
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            writer.close()
            return


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
        """Listen for browsers, ready when web and gate are reached. At the end requests under way have their grace."""
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
        behind = TcpPlace.of(settings.web_upstream), TcpPlace.of(settings.gate_upstream)
        if not await reached(behind, REACH_SECONDS):
            logger.warning("web or gate does not answer", web=str(behind[0]), gate=str(behind[1]))

    def why_not_work(self) -> str:
        """Caddy may have ended; it is started again by itself."""
        return "" if self._caddy is not None and self._caddy.runs else "Caddy does not run."
