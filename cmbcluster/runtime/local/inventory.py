"""The builds on this machine, for its operator's terminal, also beside a platform that runs.

Only reads what environments recorded and takes the locks that builds have. It must never
open a runtime: that one would take over the runs of the platform beside it.
"""

from __future__ import annotations

from cmbcluster.packages.tool import UvTool
from cmbcluster.runtime.local.builds import Builds, BuildView
from cmbcluster.runtime.local.run_folder import environment_folders
from cmbcluster.settings import Settings


class Inventory:
    """Lists and prunes. Both block: sizes are measured."""

    def __init__(self, settings: Settings) -> None:
        tool = UvTool(settings)
        self._environments = tool.data_dir / "environments"
        self._builds = Builds(settings, tool)

    def builds(self) -> tuple[BuildView, ...]:
        """Every finished build, the latest used first."""
        return self._builds.views(self.in_use())

    def prune(self, *, unused_for_seconds: float = 0.0) -> tuple[BuildView, ...]:
        """Remove builds no environment runs from; returns what was removed."""
        return self._builds.prune(self.in_use, unused_for_seconds)

    def in_use(self) -> set[str]:
        """Builds of living runs, whichever platform started them."""
        used: set[str] = set()
        for folder in environment_folders(self._environments):
            for generation in folder.generations():
                record, status = folder.run(generation).record(), folder.run(generation).status()
                if record is not None and status is not None and status.alive:
                    used.add(record.build)
        return used
