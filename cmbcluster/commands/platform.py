"""The embedded platform: everything of one machine in one process, opened and closed in order.

What is opened is closed in the opposite order, also when opening fails halfway. Whatever
happens, no socket, process or folder of ours may stay behind; environments stay when told so.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from starlette.types import ASGIApp

from cmbcluster.commands.lock import data_folder
from cmbcluster.commands.web_application import web_application
from cmbcluster.controller.controller import Controller
from cmbcluster.edge.caddy import Caddy, addresses
from cmbcluster.edge.caddyfile import EdgePlan
from cmbcluster.edge.frontend import ready_frontend
from cmbcluster.edge.gate import Gate
from cmbcluster.edge.gate_server import GateServer
from cmbcluster.edge.relay import Relay
from cmbcluster.edge.rooms import EdgeRooms, close_rooms, open_rooms
from cmbcluster.edge.servers import SocketServer
from cmbcluster.settings import Settings
from cmbcluster.wiring import close_parts, open_parts, parts

Say = Callable[[str], None]


class Platform:
    """One running platform. ``say`` gets the lines a person watching the start should see."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._opened = AsyncExitStack()
        self._stop_environments = False

    async def open(self) -> None:
        """Open everything; what was opened is closed again when something refuses."""
        try:
            await self._open()
        except BaseException:
            await self._opened.aclose()
            raise

    async def close(self, *, stop_environments: bool) -> None:
        """Close everything, environments first when told so."""
        self._stop_environments = stop_environments
        await self._opened.aclose()

    async def _open(self) -> None:
        settings = self._settings
        self._opened.enter_context(data_folder(settings.data_dir, settings.public_url))
        rooms = open_rooms(settings.run_dir)
        self._opened.callback(close_rooms, rooms)
        caddy = Caddy(rooms)
        binds = addresses(settings.bind_address)
        # Asked before the long work, so that a port in use is said at once.
        await caddy.clear_the_way(binds, settings.port)
        frontend = await ready_frontend(settings.data_dir, settings.public_url, self._say)
        await open_parts(settings)
        self._opened.push_async_callback(close_parts)
        web = web_application(frontend, settings)
        controller = Controller(parts())
        self._opened.push_async_callback(self._close_controller, controller)
        await controller.open()
        await self._open_servers(rooms, web)
        plan = EdgePlan(
            settings.host,
            settings.port,
            binds,
            rooms.web,
            rooms.gate,
            frontend.client,
            frontend.font,
            settings.public_url,
            behind_proxies=settings.trusted_proxy_hops > 0,
        )
        self._opened.push_async_callback(caddy.stop)
        await caddy.start(plan)
        self._opened.push_async_callback(self._end_environments, controller)

    async def _open_servers(self, rooms: EdgeRooms, web: ASGIApp) -> None:
        access = parts().access
        relay = Relay(access, rooms.relay)
        gate = GateServer(Gate(access, self._settings, relay), rooms.gate)
        pages = SocketServer(web, rooms.web, lifespan=True, websockets=True)
        for part in (relay, gate, pages):
            self._opened.push_async_callback(part.stop)
            await part.start()

    async def _end_environments(self, controller: Controller) -> None:
        """End environments while the pages still answer, so that whoever looks sees them stop."""
        if not self._stop_environments:
            return
        last = 0

        def told(left: int) -> None:
            nonlocal last
            if left != last:
                self._say(f"Stopping {left} environment{'' if left == 1 else 's'}…")
                last = left

        if not await controller.close(stop_environments=True, told=told):
            self._say("Some environments did not end within a minute. The next start looks after them.")

    async def _close_controller(self, controller: Controller) -> None:
        await controller.close()
