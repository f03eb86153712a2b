"""Controllers as processes over PostgreSQL and the cluster, for tests that kill and freeze them.

They are forked from one process that has loaded everything and done nothing, so that the next one works at once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from cmbcluster.crypto.keyring import Keyring
from tests.edge.stand_ins import free_port
from tests.faults.process import PATIENCE, STEPS, UNLEASED, WRITTEN, run
from tests.kubernetes.cluster import PYTHON, wanted

LEASE_SECONDS = 1.0
END_SECONDS = 15.0
KILLED = -signal.SIGKILL
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.process"])


@dataclass
class Crew:
    """Controllers that share a database, a namespace and the steps at which something waits for them."""

    folder: Path
    url: str
    namespace: str
    leased: bool = True
    patience: float = 1.0
    settings: dict[str, str] = field(default_factory=dict)
    working: list[BaseProcess] = field(default_factory=list)
    killed: int = 0

    def __post_init__(self) -> None:
        self.steps = self.folder / "steps"
        self.steps.mkdir()
        self.keys = self.folder / "keys.json"
        Keyring.of_file(self.keys)
        (self.steps / WRITTEN).touch()

    def start(self) -> BaseProcess:
        """One more."""
        number = len(list(self.folder.glob("controller-*.log")))
        log = self.folder / f"controller-{number}.log"
        log.touch()
        made = _FORKS.Process(target=run, args=(self._surroundings(number), str(log)), daemon=True)
        made.start()
        self.working.append(made)
        return made

    def _surroundings(self, number: int) -> dict[str, str]:
        given = {
            "CMB_DATABASE_URL": self.url,
            "CMB_RUNTIME": "kubernetes",
            "CMB_KUBERNETES_NAMESPACE": self.namespace,
            "CMB_KUBERNETES_PACKAGES_BYTES": str(1024**3),
            "CMB_KUBERNETES_STOP_GRACE_SECONDS": "1",
            "CMB_WORKSPACE_IMAGE": wanted("CMB_TEST_WORKSPACE_IMAGE"),
            "CMB_WORKSPACE_PYTHON": PYTHON,
            "CMB_DATA_DIR": str(self.folder / f"data-{number}"),
            "CMB_TOKEN_KEYS_FILE": str(self.keys),
            "CMB_CONTROLLER_LEASE_SECONDS": str(LEASE_SECONDS),
            # No bus joins these processes with the test, so what a ring would hurry has to come by itself.
            "CMB_SWEEP_SECONDS": "0.3",
            "CMB_HEALTH_BIND": f"127.0.0.1:{free_port()}",
            "CMB_LOG_FORMAT": "json",
            "KUBECONFIG": wanted("KUBECONFIG"),
            STEPS: str(self.steps),
            PATIENCE: str(self.patience),
        }
        return given | self.settings | ({} if self.leased else {UNLEASED: "1"})

    def arm(self, steps: Iterable[str], number: signal.Signals = signal.SIGKILL) -> None:
        """Let a signal wait at each of these steps, for whoever comes there first."""
        for step in steps:
            whole = self.steps / f"{step}.armed"
            whole.write_text(str(int(number)))
            whole.rename(self.steps / step)

    def armed(self) -> set[str]:
        """The steps at which nobody has been yet."""
        return {each.name for each in self.steps.iterdir() if "." not in each.name and each.name != WRITTEN}

    def writes(self) -> set[str]:
        """Every kind of write that any of them made."""
        return set((self.steps / WRITTEN).read_text().split())

    @asynccontextmanager
    async def manned(self, count: int = 2) -> AsyncIterator[None]:
        """Within, that many work or wait for the lease; whoever is killed has a successor."""
        for _ in range(count):
            self.start()
        manning = asyncio.create_task(self._man(), name="man the controllers")
        try:
            yield
            assert not manning.done(), manning.exception()
        finally:
            manning.cancel()
            await asyncio.wait([manning])

    async def _man(self) -> None:
        while True:
            for each in [each for each in self.working if each.exitcode is not None]:
                assert each.exitcode == KILLED, f"a controller ended with {each.exitcode}:\n{self.told()[-4000:]}"
                self.working.remove(each)
                self.killed += 1
                self.start()
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """Kill all that there are."""
        for each in self.working:
            each.kill()

    def signal(self, one: BaseProcess, number: signal.Signals) -> None:
        """Send one of them a signal."""
        assert one.pid is not None
        os.kill(one.pid, number)

    def told(self) -> str:
        """What all of them logged."""
        return "".join(each.read_text() for each in sorted(self.folder.glob("controller-*.log")))

    def end(self) -> None:
        """End them, the frozen ones as well."""
        for each in self.working:
            with suppress(ProcessLookupError):
                self.signal(each, signal.SIGCONT)
            each.terminate()
        until = time.monotonic() + END_SECONDS
        for each in self.working:
            each.join(max(until - time.monotonic(), 0.1))
            if each.exitcode is None:
                each.kill()
                each.join()
        self.working.clear()


def is_frozen(process: BaseProcess) -> bool:
    """Whether a process was stopped by a signal."""
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"
