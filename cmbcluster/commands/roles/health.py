"""What a cluster asks of a process: does it live, and should it get work?

The answers have a place of their own, to which the edge leads nobody. Whether a process lives
must never depend on anything outside of it: else one database that is away for a minute
restarts every replica of the platform.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cmbcluster import __version__


class Health:
    """Answers for one role. ``reason`` says why it takes no work; empty, ``check`` is asked each time."""

    def __init__(self, role: str, check: Callable[[], Awaitable[str]]) -> None:
        self.reason = "It is starting."
        self._role = role
        self._check = check
        routes = [Route("/health/live", self._live), Route("/health/ready", self._ready)]
        self.application = Starlette(routes=routes)

    async def _live(self, _request: Request) -> Response:
        return JSONResponse({"role": self._role, "status": "live", "version": __version__})

    async def _ready(self, _request: Request) -> Response:
        reason = self.reason or await self._check()
        status = "not ready" if reason else "ready"
        about = {"role": self._role, "status": status, "reason": reason, "version": __version__}
        return JSONResponse(about, status_code=503 if reason else 200)
