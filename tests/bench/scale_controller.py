"""``cmbcluster controller`` whose pods go to simulated nodes and install no packages, as a program of its own."""

from __future__ import annotations

import sys
from dataclasses import replace
from unittest.mock import patch

from cmbcluster import wiring
from cmbcluster.cli import main
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Placement, Spec, Toleration
from cmbcluster.settings import Settings
from tests.kubernetes.whole import NoPackages

SIMULATED = Placement(node_selector=(("type", "simulated"),), tolerations=(Toleration("simulated"),))


class SimulatedRuntime(KubernetesRuntime):
    """Everything goes where pods only pretend to run."""

    async def start(self, spec: Spec) -> None:
        """Start it there."""
        await super().start(replace(spec, placement=SIMULATED))


async def _open_runtime(settings: Settings, *, follow: bool) -> SimulatedRuntime:
    runtime = SimulatedRuntime(settings)
    await runtime.open(follow=follow)
    return runtime


def _open_resolver(_settings: Settings) -> NoPackages:
    return NoPackages()


if __name__ == "__main__":
    sys.argv[0] = "cmbcluster"
    with patch.object(wiring, "_open_runtime", _open_runtime), patch.object(wiring, "UvResolver", _open_resolver):
        main()
