"""How a client command ends, for scripts that look at the exit status. Documented in ``docs/api.md``."""

from __future__ import annotations

from enum import IntEnum

from cmbcluster.errors import CMBClusterError


class Exit(IntEnum):
    """Exit statuses of client commands."""

    OK = 0
    ERROR = 1  # refused or failed for another reason
    USAGE = 2  # a value cannot be used
    NOT_SIGNED_IN = 3  # no token, or it is not valid
    NOT_FOUND = 4
    LIMIT = 5  # a limit of the person's tier, or too many requests
    AWAY = 6  # the platform does not answer


class ClientRefused(CMBClusterError):
    """A command that cannot do what was asked; its text is two sentences for the terminal."""

    def __init__(self, exit_code: Exit, what: str, then: str = "") -> None:
        self.exit_code = exit_code
        super().__init__(f"{what} {then}".strip())


def exit_of(status: int, code: str) -> Exit:
    """The exit status for an answer of the API."""
    if code == "quota_exceeded" or status == 429:
        return Exit.LIMIT
    if status in (502, 503, 504):
        return Exit.AWAY
    return {401: Exit.NOT_SIGNED_IN, 404: Exit.NOT_FOUND, 422: Exit.USAGE}.get(status, Exit.ERROR)
