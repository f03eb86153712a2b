"""Loads libraries without those optional parts of theirs that a server never calls.

Socket.IO loads three HTTP clients for the case that it is a client itself; structlog, Mako
and HTTPX load a syntax highlighter for tracebacks and terminals. Together they were a
tenth of the memory of a platform that idles. Each of these libraries tries the import and goes on
without it, so for that moment the import fails. Nothing may stay hidden afterwards: the
Kubernetes client and Google's storage client need two of them.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import cast

_WITHOUT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("structlog", ("pygments",)),
    ("mako.exceptions", ("pygments",)),
    ("httpx", ("pygments",)),
    ("socketio", ("aiohttp", "requests", "websocket")),
)


def load_without_optional_parts() -> None:
    """Load what ``_WITHOUT`` names; to be called before anything else has loaded it."""
    for module, unneeded in _WITHOUT:
        with _hidden(unneeded):
            importlib.import_module(module)


@contextlib.contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """Let ``import`` fail for these top-level modules, unless they are loaded already."""
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        # ``None`` is Python's own mark for a module that must not be looked for; the type does not say so.
        sys.modules[name] = cast("ModuleType", None)
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)
