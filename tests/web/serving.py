"""The built pages over the stage, at an address of their own: for looking, and for pictures.

``python -m tests.web.serving 8377`` serves; add ``ending`` for environments in their last
minutes. Sign in by the cookie ``cmb_session`` with a person's name: ada, elena or ravi.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from cmbcluster import wiring
from cmbcluster.domain.gate import SESSION_COOKIE, cookie_value
from cmbcluster.edge.frontend import Frontend, ready_frontend
from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy, script_hashes
from cmbcluster.http.routes import OwnRoutesFirst
from cmbcluster.http.session_cookie import TOKEN_KEY
from cmbcluster.settings import Settings
from tests.web.stage import Platform


class Border:
    """In place of the real border: a person's name in the cookie is their token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            cookies = "; ".join(value.decode() for name, value in scope["headers"] if name == b"cookie")
            scope = {**scope, TOKEN_KEY: cookie_value(cookies, SESSION_COOKIE)}
        await self._app(scope, receive, send)


def build(data_dir: Path, settings: Settings) -> Frontend:
    """The pages for this address; built when their sources changed."""
    return asyncio.run(ready_frontend(data_dir, settings.public_url, print))


def serve(frontend: Frontend, settings: Settings, *, ending: bool) -> None:
    """Serve until interrupted."""
    # rxconfig.py reads the settings by itself, for the origin it accepts sockets from.
    os.environ.update(frontend.environment() | {"CMB_PORT": str(settings.port)})
    wiring.set_parts(Platform(ending=ending).shape(settings))
    # Imported when the environment says where the built pages are.
    from cmbcluster.cmbcluster import app

    policy = content_security_policy(settings.public_url, script_hashes(frontend.client))
    shell = Shell(Border(OwnRoutesFirst(app())), settings.public_url, policy)
    uvicorn.run(shell, host="127.0.0.1", port=settings.port, log_level="warning")


def main() -> None:
    """Read the arguments and serve."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8377
    settings = Settings(port=port, data_dir=Path(".states") / "stage", _env_file=None)
    serve(build(settings.data_dir, settings), settings, ending="ending" in sys.argv[2:])


if __name__ == "__main__":
    main()
