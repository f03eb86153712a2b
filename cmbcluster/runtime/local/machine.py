"""What all runs of one platform share: folders, account, separation, limits, builds, ports."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cmbcluster.domain.views import ProtectionView
from cmbcluster.packages.account import give
from cmbcluster.packages.tool import UvTool
from cmbcluster.runtime.local import inside
from cmbcluster.runtime.local.builds import Builds
from cmbcluster.runtime.local.isolation import (
    NONE,
    OWN_NETWORK,
    RANKS,
    SANDBOX,
    Isolation,
    check_level,
    probe,
)
from cmbcluster.runtime.local.limits import Limiter, limiter_for
from cmbcluster.runtime.local.nursery import Nursery
from cmbcluster.runtime.local.run_folder import EnvironmentFolder
from cmbcluster.runtime.port import Spec
from cmbcluster.settings import Settings

PROBED_AGAIN_SECONDS = 60.0
PORT_REUSED_SECONDS = 30.0
HOST = "127.0.0.1"


class PortTaken(Exception):
    """The only port a program can listen on is in use on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"port {port} is in use")


@dataclass(frozen=True)
class Way:
    """The address and port on this machine, and the port the program listens on inside."""

    host: str
    outer_port: int
    inner_port: int


class Ports:
    """Picks free loopback ports; one just given is not given again for a while."""

    def __init__(self) -> None:
        self._given: dict[int, float] = {}

    def pick(self, host: str = HOST) -> int:
        """A port of a loopback address nobody listens on now."""
        now = time.monotonic()
        self._given = {port: at for port, at in self._given.items() if now - at < PORT_REUSED_SECONDS}
        while True:
            with socket.socket() as probe_socket:
                probe_socket.bind((host, 0))
                port = int(probe_socket.getsockname()[1])
            if port not in self._given:
                self._given[port] = now
                return port

    @staticmethod
    def is_free(port: int) -> bool:
        """Whether the port can be bound now."""
        with socket.socket() as probe_socket:
            probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe_socket.bind((HOST, port))
            except OSError:
                return False
        return True


@dataclass
class Machine:
    """Made once by ``open_machine``; the isolation may be found again when the network comes and goes."""

    settings: Settings
    tool: UvTool
    builds: Builds
    isolation: Isolation
    limiter: Limiter
    ports: Ports
    nursery: Nursery
    at_level: str | None
    probed_at: float

    @property
    def environments(self) -> Path:
        """The folder of all environments."""
        return self.tool.data_dir / "environments"

    @property
    def protection(self) -> ProtectionView:
        """What an environment started now is told about its separation."""
        found = self.isolation
        return ProtectionView(found.level, self.limiter.by, found.missing, found.mend)

    async def probe_again(self, *, at_once: bool = False) -> None:
        """Look again what the machine can do, if it could be better (or worse) than last time."""
        degraded = self.isolation.level == SANDBOX and self.at_level is None and not self.isolation.mend
        old = time.monotonic() - self.probed_at >= PROBED_AGAIN_SECONDS
        if self.at_level is None and (at_once or (degraded and old)):
            found = await probe(self.tool.account)
            check_level(found, self.settings.local_isolation)
            self.isolation, self.probed_at = found, time.monotonic()

    def prepare_environment(self, slug: str) -> EnvironmentFolder:
        """Make an environment's folders; the workspace belongs to the account, the rest to us. Blocking."""
        folder = EnvironmentFolder(self.environments, slug)
        folder.path.mkdir(mode=0o711, exist_ok=True)
        if not folder.workspace.is_dir():
            folder.workspace.mkdir(mode=0o700)
            give(self.tool.account, folder.workspace)
        inside.write_files(folder.files, slug, self.isolation.level)
        return folder

    def way_for(self, spec: Spec) -> Way:
        """Where the program is reached from this machine and where it listens. Raises PortTaken."""
        if self.isolation.level == OWN_NETWORK:
            host = some_loopback_address()
            return Way(host, self.ports.pick(host), spec.program.port)
        if inside.takes_any_port(spec.program):
            port = self.ports.pick()
            return Way(HOST, port, port)
        if not self.ports.is_free(spec.program.port):
            raise PortTaken(spec.program.port)
        return Way(HOST, spec.program.port, spec.program.port)


def some_loopback_address() -> str:
    """A loopback address of the run alone.

    Other programs of this machine, a browser above all, know 127.0.0.1 and the ports on it;
    an application behind the gate is not to be found there.
    """
    parts = [1 + secrets.randbelow(254) for _ in range(3)]
    return ".".join(map(str, (127, *parts)))


async def open_machine(settings: Settings, at_level: str | None) -> Machine:
    """Probe the machine. Raises StartRefused when it cannot do what the settings ask for."""
    tool = UvTool(settings)
    await asyncio.to_thread(tool.prepare)
    builds = Builds(settings, tool)
    await asyncio.to_thread(builds.prepare)
    isolation, limiter = await asyncio.gather(probe(tool.account), asyncio.to_thread(limiter_for, tool.data_dir))
    if at_level is not None:
        isolation = lowered(isolation, at_level)
    check_level(isolation, settings.local_isolation)
    nursery = Nursery()
    machine = Machine(settings, tool, builds, isolation, limiter, Ports(), nursery, at_level, time.monotonic())
    os.makedirs(machine.environments, mode=0o711, exist_ok=True)
    await asyncio.to_thread(nursery.open)
    return machine


def lowered(isolation: Isolation, level: str) -> Isolation:
    """A lower level than the machine could have, on request."""
    if RANKS[level] >= RANKS[isolation.level]:
        return isolation
    shared = "environments share this machine's loopback network"
    missing = f"A lower level was asked for: {shared}{'' if level != NONE else ' and see its files'}."
    return replace(isolation, level=level, missing=missing, mend="")
