"""A role as a process of its own, over a runtime and a resolver in memory.

``python -m tests.roles.process ROLE`` is ``cmbcluster ROLE`` with these two replaced: what the
roles share is the database, and real runs would be the runtime's own test. Every run's
endpoint is the application that the test itself started.
"""

from __future__ import annotations

import os
import sys
from unittest.mock import patch

import cmbcluster.wiring as wiring
from cmbcluster.cli import main
from cmbcluster.runtime.port import Spec
from cmbcluster.settings import Settings
from tests.fakes.resolver import FakeResolver
from tests.fakes.runtime import FakeRuntime

APPLICATION_PORT = "TEST_APPLICATION_PORT"


class OneApplication(FakeRuntime):
    """Every run is the test's application."""

    async def start(self, spec: Spec) -> None:
        """The next port is that of the application."""
        self._next_port = int(os.environ[APPLICATION_PORT]) - 1
        await super().start(spec)


async def _open_runtime(_settings: Settings, *, follow: bool) -> OneApplication:
    return OneApplication()


def _open_resolver(_settings: Settings) -> FakeResolver:
    return FakeResolver()


if __name__ == "__main__":
    sys.argv[0] = "cmbcluster"
    with patch.object(wiring, "_open_runtime", _open_runtime), patch.object(wiring, "UvResolver", _open_resolver):
        main()
