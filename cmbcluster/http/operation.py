"""The id of one request. It is drawn here, since one from outside could be anything."""

from __future__ import annotations

import secrets

from starlette.types import Scope

_KEY = "cmb_operation_id"


def new_operation_id() -> str:
    """A fresh id, short enough to be read aloud."""
    return secrets.token_hex(8)


def keep_operation_id(scope: Scope, operation_id: str) -> None:
    """Write the id where the routes find it."""
    scope[_KEY] = operation_id


def operation_id_of(scope: Scope) -> str:
    """The id of this request, or nothing when no middleware gave it one."""
    return str(scope.get(_KEY, ""))
