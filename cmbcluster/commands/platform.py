"""The embedded platform: everything of one machine in one process, opened and closed in order.

What is opened is closed in the opposite order, also when opening fails halfway. Whatever
happens, no socket, process or folder of ours may stay behind; environments stay when told so.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from starlette.types import ASGIApp

from cmbcluster.commands.lock import data_folder
from cmbcluster.controller.controller import Controller
from cmbcluster.edge.caddy import Caddy, addresses
from cmbcluster.edge.caddyfile import EdgePlan
from cmbcluster.edge.frontend import Frontend, project_root, ready_frontend
from cmbcluster.edge.gate import Gate
from cmbcluster.edge.gate_server import GateServer
from cmbcluster.edge.relay import Relay
from cmbcluster.edge.rooms import EdgeRooms, close_rooms, open_rooms
from cmbcluster.edge.servers import SocketServer
from cmbcluster.http.forwarded import Forwarded
from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy, script_hashes
from cmbcluster.http.routes import OwnRoutesFirst
from cmbcluster.http.session_cookie import SessionCookies
from cmbcluster.http.sockets import SocketsOfNetworks, SocketsOfSessions
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
        web = _web_application(frontend, settings)
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


def _web_application(frontend: Frontend, settings: Settings) -> ASGIApp:
    """The Reflex application over the built pages, inside our own shell."""
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url is not None else ""
    os.environ.update(frontend.environment(redis_url))
    root = str(project_root())
    if root not in sys.path:
        sys.path.insert(0, root)
    module: Any = importlib.import_module("cmbcluster.cmbcluster")
    reflex_application: ASGIApp = module.app()
    _take_over_logging()
    policy = content_security_policy(settings.public_url, script_hashes(frontend.client))
    inner = OwnRoutesFirst(SocketsOfSessions(reflex_application, settings))
    shell = Shell(SocketsOfNetworks(SessionCookies(inner, settings), settings), settings.public_url, policy)
    return Forwarded(shell, settings)


def _take_over_logging() -> None:
    """Reflex hangs handlers of its own on its loggers when it is loaded; every line goes our way."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0].startswith("reflex") and isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
