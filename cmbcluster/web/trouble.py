"""What a page says when something failed that nobody foresaw."""

from __future__ import annotations

from typing import Any

import reflex as rx
from reflex.state import BaseState
from reflex_base.vars.base import FIELD_MARKER  # type: ignore[attr-defined]

from cmbcluster.web.access import public
from cmbcluster.web.shell import CANNOT_READ, NOT_NOW, Shell, tell


class Trouble(rx.State):
    """Says that something went wrong; the trace is in the log, not here."""

    @rx.event
    @public
    async def say(self) -> None:
        """A toast in place of a trace."""
        shell = await self.get_state(Shell)
        tell(
            shell,
            "Something went wrong on our side.",
            "Nothing was lost. Try again; the log has the details.",
            tone="bad",
        )


async def say_away(root: BaseState, loads: bool) -> dict[str, Any]:
    """What a tab is told when who is there cannot be asked: words of ours, and nothing it held before."""
    shell = await root.get_state(Shell)
    if loads:
        shell.trouble = CANNOT_READ
        told: dict[str, Any] = {"trouble": CANNOT_READ}
    else:
        shell.toasts = []
        tell(shell, *NOT_NOW, tone="bad")
        told = {"toasts": shell.toasts}
    return {Shell.get_full_name(): {name + FIELD_MARKER: value for name, value in told.items()}}
