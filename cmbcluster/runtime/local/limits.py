"""Holding memory, CPU and processes: by systemd, by control groups, or by measuring.

Tried in this order, each with a real attempt, because permission files say less than an
attempt does. This module must never set a limit on the platform itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import shutil
import subprocess  # the probes move a real process
import sys
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from cmbcluster.runtime.port import Spec

SYSTEMD, CGROUP, MEASURED = "systemd", "cgroup", "measured"
PREFIX = "cmb-"
PERIOD_MICROSECONDS = 100_000
PROBE_SECONDS = 5.0
_CGROUPS = Path("/sys/fs/cgroup")
_PROBES = itertools.count()


@dataclass(frozen=True)
class Plan:
    """What the supervisor needs to hold one environment's limits."""

    by: str
    prefix: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Limiter:
    """How this machine holds limits.

    ``parents``: where control groups are made, by controller. ``owner`` sets our groups
    apart from those of another platform on this machine.
    """

    by: str
    parents: tuple[tuple[str, Path], ...] = ()
    unified: bool = False
    owner: str = ""

    def plan(self, spec: Spec) -> Plan:
        """Prepare the limits of one run; control groups exist afterwards."""
        name = f"{PREFIX}{self.owner}-{spec.ref.slug}-{spec.ref.generation}"
        if self.by == SYSTEMD:
            return Plan(SYSTEMD, prefix=systemd_words(spec, name))
        if self.by == CGROUP:
            return Plan(CGROUP, cgroups=tuple(self._make(spec, name)))
        return Plan(MEASURED, cpus=_some_cpus(spec))

    def sweep(self, alive: set[str]) -> None:
        """Remove groups of ours that no living run uses. ``alive`` holds the paths of those that do."""
        for parent in {parent for _, parent in self.parents}:
            for folder in parent.glob(f"{PREFIX}{self.owner}-*"):
                if str(folder) not in alive:
                    with contextlib.suppress(OSError):
                        folder.rmdir()

    def _make(self, spec: Spec, name: str) -> list[str]:
        made: list[str] = []
        for controller, parent in self.parents:
            folder = parent / name
            folder.mkdir(exist_ok=True)
            for file, value in _values(spec, controller, unified=self.unified).items():
                if (folder / file).exists():
                    (folder / file).write_text(value, encoding="ascii")
            made.append(str(folder))
        return made


def systemd_words(spec: Spec, name: str) -> tuple[str, ...]:
    """The command before the command that makes systemd hold the limits."""
    return (
        "systemd-run", "--user", "--scope", "--quiet", "--collect", f"--unit={name}",
        "-p", f"MemoryMax={spec.memory_bytes}", "-p", "MemorySwapMax=0",
        "-p", f"CPUQuota={max(1, spec.cpu_millis // 10)}%", "-p", f"TasksMax={spec.processes}", "--",
    )  # fmt: skip


def limiter_for(data_dir: Path) -> Limiter:
    """The best way of this machine for the platform with this data. Blocking, some milliseconds."""
    return replace(probe_limits(), owner=hashlib.sha256(str(data_dir).encode()).hexdigest()[:8])


def probe_limits() -> Limiter:
    """The best way of this machine. Takes seconds with a sick systemd."""
    if sys.platform != "linux":
        return Limiter(MEASURED)
    if os.geteuid() != 0 and _systemd_works():
        return Limiter(SYSTEMD)
    for limiter in (_version_two(), _version_one()):
        if limiter is not None and _accepts_a_process(limiter):
            return limiter
    return Limiter(MEASURED)


def _systemd_works() -> bool:
    tool = shutil.which("systemd-run")
    if tool is None or "XDG_RUNTIME_DIR" not in os.environ:
        return False
    try:
        command = [
            tool,
            "--user",
            "--scope",
            "--quiet",
            "--collect",
            "-p",
            "MemoryMax=1G",
            "-p",
            "TasksMax=64",
            "--",
            "true",
        ]
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False)  # noqa: S603 — constant
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _own_groups() -> dict[str, str]:
    """Our own group of each version 1 controller, and of version 2 under the empty name."""
    groups: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _version_two() -> Limiter | None:
    """The nearest group above our own that lets us make children with all three controllers."""
    if not (_CGROUPS / "cgroup.controllers").exists():
        return None
    own = _CGROUPS / _own_groups().get("", "/").lstrip("/")
    for folder in (own, *own.parents):
        if not folder.is_relative_to(_CGROUPS):
            break
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text("+memory +cpu +pids", encoding="ascii")
        with contextlib.suppress(OSError):
            enabled = (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
            if {"memory", "cpu", "pids"} <= set(enabled) and os.access(folder, os.W_OK):
                return Limiter(CGROUP, (("", folder),), unified=True)
    return None


def _version_one() -> Limiter | None:
    groups = _own_groups()
    parents: list[tuple[str, Path]] = []
    for controller in ("memory", "cpu", "pids"):
        folder = _CGROUPS / controller / groups.get(controller, "/").lstrip("/")
        if not os.access(folder, os.W_OK):
            return None
        parents.append((controller, folder))
    return Limiter(CGROUP, tuple(parents))


def _accepts_a_process(limiter: Limiter) -> bool:
    """Whether a process can really be moved into groups made there."""
    cat = shutil.which("cat")
    if cat is None:
        return False
    folders = [parent / f"{PREFIX}probe-{os.getpid()}-{next(_PROBES)}" for _, parent in limiter.parents]
    with subprocess.Popen([cat], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:  # noqa: S603 — constant
        try:
            for folder in folders:
                folder.mkdir()
                (folder / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
        except OSError:
            return False
        finally:
            process.kill()
            process.wait()
            for folder in folders:
                with contextlib.suppress(OSError):
                    folder.rmdir()
    return True


def _values(spec: Spec, controller: str, *, unified: bool) -> dict[str, str]:
    """What is written into the files of a group. Files a kernel does not have are left out by the caller."""
    memory, pids = str(spec.memory_bytes), str(spec.processes)
    quota = str(max(1000, spec.cpu_millis * PERIOD_MICROSECONDS // 1000))
    if unified:
        return {
            "memory.max": memory,
            "memory.swap.max": "0",
            "cpu.max": f"{quota} {PERIOD_MICROSECONDS}",
            "pids.max": pids,
        }
    return {
        "memory": {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
        "cpu": {"cpu.cfs_period_us": str(PERIOD_MICROSECONDS), "cpu.cfs_quota_us": quota},
        "pids": {"pids.max": pids},
    }[controller]


def _some_cpus(spec: Spec) -> tuple[int, ...]:
    """As many CPUs as cores were granted, spread over the machine by the slug; empty: all of them."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    mine = sorted(os.sched_getaffinity(0))
    wanted = math.ceil(spec.cpu_millis / 1000)
    if wanted >= len(mine):
        return ()
    first = zlib.crc32(spec.ref.slug.encode()) % len(mine)
    return tuple(mine[(first + step) % len(mine)] for step in range(wanted))
