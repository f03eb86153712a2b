"""Ends a random replica of the installed platform every few seconds while tests look at the platform."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.install.release import Json, Release, is_ready, kill_processes

KILLED_ROLES = ("web", "gate", "controller")
PAUSE_SECONDS = (3.0, 8.0)


class Killer:
    """A thread. It ends nobody whose other half is not ready, since that is an outage and no crash."""

    def __init__(self, release: Release, chance: random.Random, said: Path) -> None:
        self._release = release
        self._chance = chance
        self._said = said
        self._over = threading.Event()
        self._wrong: list[BaseException] = []
        self.killed: Counter[str] = Counter()

    def run(self) -> None:
        """Kill until it is told to stop; what goes wrong is raised at the end."""
        try:
            while not self._over.wait(self._chance.uniform(*PAUSE_SECONDS)):
                self._kill_one()
        except Exception as wrong:
            self._wrong.append(wrong)

    def _kill_one(self) -> None:
        able: list[tuple[str, Json]] = []
        for role in KILLED_ROLES:
            ready = [pod for pod in self._release.pods(role) if is_ready(pod)]
            able += [(role, pod) for pod in ready if len(ready) > 1]
        if not able:
            return
        role, pod = self._chance.choice(able)
        name = pod["metadata"]["name"]
        with self._said.open("a") as said:
            said.write(self._release.kubectl("logs", name, "--tail", "-1"))
        if kill_processes(pod) == 0:
            raise AssertionError(f"no process of {name} was found")
        # A new pod, since a container that ended often is started ever later.
        self._release.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
        self.killed[role] += 1

    def stop(self) -> None:
        """Kill no more; raises what went wrong."""
        self._over.set()
        if self._wrong:
            raise self._wrong[0]


@contextmanager
def killing(release: Release, chance: random.Random, said: Path) -> Iterator[Killer]:
    """Kill while the block runs."""
    killer = Killer(release, chance, said)
    thread = threading.Thread(target=killer.run, name="killer", daemon=True)
    begun = time.monotonic()
    thread.start()
    try:
        yield killer
    finally:
        killer.stop()
        thread.join(60)
        print(f"killed {dict(killer.killed)} in {time.monotonic() - begun:.0f} s")
