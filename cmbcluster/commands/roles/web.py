"""The role web: pages, their events and the HTTP API, over pages that were built before.

Any replica serves any browser: sessions and everything shown are in the database.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from cmbcluster.commands.roles.keys import check_signing_keys
from cmbcluster.commands.roles.process import refuse_local
from cmbcluster.commands.web_application import refuse_elsewhere, web_application
from cmbcluster.edge.frontend import finished_frontend
from cmbcluster.edge.places import TcpPlace
from cmbcluster.edge.servers import SocketServer
from cmbcluster.settings import Settings
from cmbcluster.wiring import close_parts, open_parts


class Web:
    """One replica."""

    name = "web"
    has_database = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self) -> None:
        """People sign in here, and every replica must believe the sessions of the others."""
        refuse_elsewhere(self._settings, self.name)
        refuse_local(self._settings, self.name)
        check_signing_keys(self._settings, self.name)

    async def open(self, opened: AsyncExitStack) -> None:
        """Serve. At the end answers under way are given, and sockets closed: browsers come again, elsewhere."""
        settings = self._settings
        frontend = await finished_frontend(settings.data_dir, settings.public_url)
        opened.push_async_callback(close_parts)
        await open_parts(settings, prepare=False, follow=False)
        server = SocketServer(
            web_application(frontend, settings),
            TcpPlace.of(settings.web_bind),
            lifespan=True,
            websockets=True,
            leave_seconds=settings.drain_seconds,
        )
        opened.push_async_callback(server.stop)
        await server.start()
        opened.push_async_callback(asyncio.sleep, settings.linger_seconds)

    def why_not_work(self) -> str:
        """Nothing of its own can be wrong."""
        return ""
