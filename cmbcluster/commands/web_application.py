"""The dashboard as one ASGI application: Reflex over the built pages, inside our own shell.

Reflex reads the process's environment when it is loaded, so this is done once in a process,
after the parts are open.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any

from starlette.types import ASGIApp

from cmbcluster.edge.frontend import Frontend, project_root
from cmbcluster.errors import StartRefused
from cmbcluster.http.forwarded import Forwarded
from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy, script_hashes
from cmbcluster.http.routes import OwnRoutesFirst
from cmbcluster.http.session_cookie import SessionCookies
from cmbcluster.http.sockets import SocketsOfNetworks, SocketsOfSessions
from cmbcluster.settings import Settings


def refuse_elsewhere(settings: Settings, name: str) -> None:
    """Raise StartRefused where people would meet a page on which nobody can sign in."""
    if settings.identity == "elsewhere":
        raise StartRefused(
            f"CMB_IDENTITY=elsewhere is for processes that sign nobody in, and people do so at `cmbcluster {name}`. "
            "Set CMB_IDENTITY=oidc and a provider."
        )


def web_application(frontend: Frontend, settings: Settings) -> ASGIApp:
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
