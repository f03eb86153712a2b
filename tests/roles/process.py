"""A role as a process of its own, over a runtime and a resolver in memory.

``python -m tests.roles.process ROLE`` is ``cmbcluster ROLE`` with these two replaced: what the
roles share is the database, and real runs would be the runtime's own test. Every run's
endpoint is the application that the test itself started.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from unittest.mock import patch

import cmbcluster.wiring as wiring
from cmbcluster.cli import main
from cmbcluster.runtime.port import Observation, Ref, Spec
from cmbcluster.settings import Settings
from tests.fakes.resolver import FakeResolver
from tests.fakes.runtime import FakeRuntime

APPLICATION_PORT = "TEST_APPLICATION_PORT"
KEPT_RUNS = "TEST_KEPT_RUNS"


class OneApplication(FakeRuntime):
    """Every run is the test's application."""

    async def start(self, spec: Spec) -> None:
        """The next port is that of the application."""
        self._next_port = int(os.environ[APPLICATION_PORT]) - 1
        await super().start(spec)


class KeptRuns(OneApplication):
    """Runs outlive the process that started them, as in a cluster; the file ``started`` has a line for each start."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / "runs"
        self._started = folder / "started"

    async def open(self) -> None:
        self._read()

    async def start(self, spec: Spec) -> None:
        self._read()
        before = len(self.starts)
        await super().start(spec)
        if len(self.starts) > before:
            with self._started.open("a") as started:
                started.write(f"{spec.ref.environment_id}\n")
        self._write()

    async def stop(self, ref: Ref) -> None:
        self._read()
        await super().stop(ref)
        self._write()

    async def remove(self, ref: Ref, *, workspace: bool) -> None:
        self._read()
        await super().remove(ref, workspace=workspace)
        self._write()

    async def look(self, ref: Ref) -> Observation:
        self._read()
        return await super().look(ref)

    def _read(self) -> None:
        if self._file.exists():
            self._runs = pickle.loads(self._file.read_bytes())  # noqa: S301 - the test's own file

    def _write(self) -> None:
        whole = self._file.with_name(f"runs-{os.getpid()}")
        whole.write_bytes(pickle.dumps(self._runs))
        whole.replace(self._file)


async def _open_runtime(_settings: Settings, *, follow: bool) -> OneApplication:
    kept = os.environ.get(KEPT_RUNS)
    return KeptRuns(Path(kept)) if kept else OneApplication()


def _open_resolver(_settings: Settings) -> FakeResolver:
    return FakeResolver()


if __name__ == "__main__":
    sys.argv[0] = "cmbcluster"
    with patch.object(wiring, "_open_runtime", _open_runtime), patch.object(wiring, "UvResolver", _open_resolver):
        main()
