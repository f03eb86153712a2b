"""What a page says when something failed that nobody foresaw."""

from __future__ import annotations

import reflex as rx

from cmbcluster.web.access import public
from cmbcluster.web.shell import Shell, tell


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
