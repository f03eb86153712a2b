"""Reading the process tree and control groups from ``/proc`` and ``/sys``.

Shared by the supervisor, which has only the standard library, and the runtime. It must
never signal anything, and where the kernel has no such files it answers "nothing there".
"""

from __future__ import annotations

import os

WRAPPERS = frozenset({"pasta", "pasta.avx2", "passt", "passt.avx2", "bwrap", "systemd-run"})


def start_ticks(pid: int) -> int | None:
    """When the process started, in ticks since boot; with the pid it names a process for good."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(pid: int, ticks: int | None) -> bool:
    """Whether this very process lives; without ticks (not on Linux) the pid alone has to do."""
    if ticks is not None:
        return start_ticks(pid) == ticks
    if pid <= 0 or os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def children(pid: int) -> list[int]:
    """The direct children of a process, of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Every process below ``pid``, parents before children."""
    found: list[int] = []
    waiting = children(pid)
    while waiting:
        one = waiting.pop(0)
        found.append(one)
        waiting += children(one)
    return found


def name_of(pid: int) -> str:
    """The short name of a process, or the empty string when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def program_of(pid: int) -> int | None:
    """The application's own first process below the wrappers, or None before it exists."""
    while name_of(pid) in WRAPPERS:
        below = children(pid)
        if not below:
            return None
        pid = below[-1]
    return pid if name_of(pid) else None


def memory_of(pids: list[int]) -> int:
    """Bytes held by the processes; shared pages count once for each (cheap)."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                total += int(file.read().split()[1]) * page
        except (OSError, IndexError):
            continue
    return total


def fair_memory_of(pids: list[int]) -> int:
    """Bytes held by the processes, shared pages divided among their users (slow)."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        except (OSError, IndexError):
            total += memory_of([pid])
    return total


def threads_of(pid: int) -> int:
    """How many threads a process has."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def scope_events(pid: int) -> int:
    """A descriptor of the memory counters of the scope systemd moved the process into, or -1."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            path = next((line.strip()[3:] for line in file if line.startswith("0::")), "")
        if not path.endswith(".scope"):
            return -1
        return os.open(f"/sys/fs/cgroup{path}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def scope_oom_kills(descriptor: int) -> int:
    """The counter of kills for memory, from a descriptor of ``scope_events``."""
    try:
        text = os.pread(descriptor, 4096, 0).decode("ascii")
    except OSError:
        return 0
    return _oom_kills_in(text)


def oom_kills(cgroups: list[str]) -> int:
    """How often the kernel killed for memory in these control groups."""
    for folder in cgroups:
        for name in ("memory.events", "memory.oom_control"):
            try:
                with open(f"{folder}/{name}", encoding="ascii") as file:
                    return _oom_kills_in(file.read())
            except OSError:
                continue
    return 0


def _oom_kills_in(text: str) -> int:
    rows = [line.split() for line in text.splitlines()]
    return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == "oom_kill"), 0)


def boot_id() -> str:
    """Names this start of the machine, so that a pid of an earlier one is not believed."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
