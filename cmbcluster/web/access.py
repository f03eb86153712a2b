"""Who may call an event handler, written at the handler: ``@public``, ``@signed_in``, ``@role``.

Stack the mark below ``@rx.event``. A handler without a mark is refused by the guard and by
a test. Must never look at the event or the state: that is the guard's part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Handler = TypeVar("Handler", bound=Callable[..., Any])
MARK = "_cmb_access"
PUBLIC = "public"
SIGNED_IN = "signed_in"


def public(handler: Handler) -> Handler:
    """Anybody may call it, also without a session."""
    setattr(handler, MARK, PUBLIC)
    return handler


def signed_in(handler: Handler) -> Handler:
    """Any signed-in person may call it; the service checks whose things it touches."""
    setattr(handler, MARK, SIGNED_IN)
    return handler


def role(name: str) -> Callable[[Handler], Handler]:
    """Only people of this role may call it."""

    def mark(handler: Handler) -> Handler:
        setattr(handler, MARK, f"role:{name}")
        return handler

    return mark


def mark_of(handler: Callable[..., Any]) -> str:
    """The mark of a handler, or the empty string when it has none."""
    return str(getattr(handler, MARK, ""))
