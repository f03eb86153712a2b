"""The role controller: makes what runs match what was asked. It takes no requests.

It may be ended after any line: what it had begun is begun again, here or by another replica.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from cmbcluster.commands.roles.process import refuse_local
from cmbcluster.controller.controller import Controller as Reconciling
from cmbcluster.settings import Settings
from cmbcluster.wiring import close_parts, open_parts


class Controller:
    """One replica."""

    name = "controller"
    has_database = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self) -> None:
        """What it starts must be there for others too."""
        refuse_local(self._settings, self.name)

    async def open(self, opened: AsyncExitStack) -> None:
        """Work. At the end environments go on."""
        opened.push_async_callback(close_parts)
        controller = Reconciling(await open_parts(self._settings, prepare=False))
        opened.push_async_callback(controller.close)
        await controller.open()

    def why_not_work(self) -> str:
        """Nothing of its own can be wrong."""
        return ""
