"""Whether an event carries what its handler takes, asked before the handler is called.

A socket carries any JSON. What does not even fit the handler's signature would raise there,
and each such line of a stranger's would write a whole traceback into the log. Our own
handlers take any value under the right name and answer in words; Reflex's own are checked
for the kind of value as well, since nobody else does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

TEXT_LIMIT = 20_000
LIST_LIMIT = 1000
NAME_LIMIT = 500
_KINDS: dict[str, type] = {"bool": bool, "str": str, "dict": dict, "list": list}


def is_event(data: object) -> bool:
    """Whether what came over a socket is an event at all, before Reflex reads it."""
    if not isinstance(data, dict):
        return False
    name = data.get("name")
    parts = (data.get("payload", {}), data.get("router_data", {}))
    return isinstance(name, str) and 0 < len(name) <= NAME_LIMIT and all(isinstance(part, dict) for part in parts)


def fits(handler: Callable[..., Any], payload: object, *, own: bool) -> bool:
    """Whether ``payload`` can be given to ``handler``; ``own`` false for one of Reflex's."""
    if not isinstance(payload, dict):
        return False
    signature = inspect.signature(handler)
    try:
        signature.bind(None, **payload)
    except TypeError:
        return False
    return own or all(_is_kind(signature.parameters[name], value) for name, value in payload.items())


def _is_kind(parameter: inspect.Parameter, value: object) -> bool:
    annotation = parameter.annotation
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    kind = _KINDS.get(words.partition("[")[0].partition(" ")[0])
    if value is None and parameter.default is None:
        return True
    if kind is None or not isinstance(value, kind):
        return False
    if isinstance(value, dict):
        # Nothing of ours is kept in a browser's storage, so nothing can come back from there.
        return not value
    if isinstance(value, list):
        return len(value) <= LIST_LIMIT and all(isinstance(item, str) and len(item) <= TEXT_LIMIT for item in value)
    return not isinstance(value, str) or len(value) <= TEXT_LIMIT
