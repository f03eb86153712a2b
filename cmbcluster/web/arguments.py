"""Arguments of event handlers, which may be any JSON whatever the signature says.

Each function returns a value of the type it names or raises a UserError. Must never look
anything up: whether a thing exists and whose it is, is the service's question.
"""

from __future__ import annotations

from uuid import UUID

from cmbcluster.errors import NotFound

NO_SUCH_ENVIRONMENT = ("There is no such environment, or it is not yours.", "Go to Home to see yours.")
TEXT_LIMIT = 20_000


def environment_id(value: object) -> UUID:
    """The id of an environment; what cannot be one does not exist."""
    try:
        return UUID(str(value)) if isinstance(value, str) and len(value) <= 40 else _missing()
    except ValueError:
        return _missing()


def _missing() -> UUID:
    raise NotFound(*NO_SUCH_ENVIRONMENT)


def text(value: object, limit: int = TEXT_LIMIT) -> str:
    """A string of at most ``limit`` characters; anything else is the empty string."""
    return value[:limit] if isinstance(value, str) else ""


def fields(value: object) -> dict[str, str]:
    """The fields of a form; what is no form is an empty one, whose fields are then missed."""
    if not isinstance(value, dict):
        return {}
    return {str(name)[:60]: text(field) for name, field in list(value.items())[:40]}


def whole(value: object, least: int = 0, most: int = 10**9) -> int:
    """A whole number within bounds; what is none becomes ``least``."""
    try:
        number = int(str(value)[:12])
    except ValueError:
        return least
    return max(least, min(most, number))
