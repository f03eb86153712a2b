"""Uvicorn servers on places of ours, in the event loop we already have.

Uvicorn's own main loop wakes ten times a second and takes the signals; ours sleeps until it
is told to leave, since an idle platform should use no processor time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from cmbcluster.edge.places import Place, let_go, listen
from cmbcluster.errors import StartRefused

LEAVE_SECONDS = 3
# Longer than the edge keeps an idle connection, so that never both ends act at once.
KEEP_ALIVE_SECONDS = 75
MESSAGE_BYTES = 1024 * 1024


class QuietServer(uvicorn.Server):
    """A server that neither polls nor touches signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the command that runs us."""
        yield

    async def main_loop(self) -> None:
        """Sleep until told to leave."""
        self.server_state.default_headers = self.config.encoded_headers
        await self.leave.wait()


class SocketServer:
    """One ASGI application on one place. ``leave_seconds`` is how long answers under way may take at the end."""

    def __init__(
        self, app: ASGIApp, place: Place, *, lifespan: bool, websockets: bool, leave_seconds: int = LEAVE_SECONDS
    ) -> None:
        self._place = place
        self._server = QuietServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                lifespan="on" if lifespan else "off",
                ws="websockets-sansio" if websockets else "none",
                ws_max_size=MESSAGE_BYTES,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=leave_seconds,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the application has started and its socket answers."""
        self._task = asyncio.create_task(self._serve(), name=f"server {self._place}")
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise StartRefused("A part of the platform ended while it was starting. The lines above say why.")
            await asyncio.sleep(0.005)

    async def _serve(self) -> None:
        try:
            await self._server.serve(sockets=[listen(self._place)])
        except SystemExit as ended:
            raise StartRefused("A part of the platform could not start. The lines above say why.") from ended

    async def stop(self) -> None:
        """Close every connection and end the application."""
        if self._task is None:
            return
        self._server.leave.set()
        self._server.should_exit = True
        await self._task
        let_go(self._place)
