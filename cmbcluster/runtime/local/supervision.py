"""The few lines that stay with an environment when the platform goes away.

A copy of the process that ``supervisor.py`` is, in a session of its own, with nothing but the
standard library and little of that, so that it is small. It starts the program, copies its
output to a bounded log, holds measured limits, ends the whole tree when told, and writes down
what happened. It must never decide to start anything twice, and nothing of the environment
may be left when it ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time

# ``os.execvpe`` imports it, and after the change of account our own Python may be out of reach.
import warnings  # noqa: F401

from cmbcluster.runtime.local.output_log import Log, now_text
from cmbcluster.runtime.local.process_tree import (
    boot_id,
    descendants,
    fair_memory_of,
    memory_of,
    oom_kills,
    program_of,
    scope_events,
    scope_oom_kills,
    start_ticks,
    threads_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:  # The module ``typing`` costs milliseconds and is needed by readers alone.
    from typing import Any

LAUNCH = "launch.json"
STATUS = "status.json"
LOCK = "lock"
COMPLAINT = "supervisor.err"
# Closed by the kernel when the program has replaced us: whoever holds the other end knows at once.
STARTED_FD = 3
OPEN_FILES = 65536
MEASURE_SECONDS = 1.0
PARTIAL_SECONDS = 1.0
# More output than this waits in the pipe, so that a flood costs its own program and not the machine.
LOG_BYTES_PER_SECOND = 4 * 1024**2
KILL_SECONDS = 10.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
ON_LINUX = sys.platform == "linux"


def write_atomically(path: str, content: dict[str, Any]) -> None:
    """Replace a JSON file in one step, readable by its owner alone."""
    half = f"{path}.{os.getpid()}"
    with open(half, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(content, file)
    os.replace(half, path)


def _prctl(option: int, value: int) -> None:
    if ON_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Supervisor:
    """One program from its start to the end of its last process."""

    def __init__(self, launch: dict[str, Any]) -> None:
        self.launch = launch
        self.log = Log(int(launch["log_bytes"]))
        self.child = 0
        self.raw_status: int | None = None
        self.reason = ""
        self.events = -1
        self.oom_kills = 0
        self.watches = bool(launch["measure"] or launch["scope"])
        self.kill_at: float | None = None
        self.measured_at = time.monotonic()
        self.second_began = time.monotonic()
        self.logged_bytes = 0
        self.waits = False
        self.status: dict[str, Any] = {}
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def run(self) -> None:
        """Start the program, stay until it has ended, leave nothing behind."""
        read_end, write_end = os.pipe()
        os.set_inheritable(STARTED_FD, False)
        started_at = now_text()
        self.child = os.fork()
        if self.child == 0:
            become_program(self.launch, write_end)
        os.close(write_end)
        os.set_blocking(read_end, False)
        own = os.getpid()
        self.status = {
            "supervisor": own, "supervisor_ticks": start_ticks(own), "child": self.child,
            "boot": boot_id(), "started_at": started_at,
        }  # fmt: skip
        write_atomically(STATUS, self.status)
        os.close(STARTED_FD)
        self._stay(read_end)
        self._end_everything()
        self._drain(read_end)
        self._write_the_end()

    def _stay(self, read_end: int) -> None:
        poller = select.poll()
        poller.register(read_end, select.POLLIN)
        poller.register(self.wake_read, select.POLLIN)
        while self.raw_status is None:
            ready = poller.poll(self._patience())
            if not ready:
                self.log.flush()
            for fd, _ in ready:
                if fd == self.wake_read:
                    self._signals(os.read(self.wake_read, 512))
                elif fd == self.events:
                    self.oom_kills = scope_oom_kills(fd)
                elif not self._copy(read_end):
                    poller.unregister(read_end)
                elif self.logged_bytes >= LOG_BYTES_PER_SECOND:
                    poller.unregister(read_end)
                    self.waits = True
            self._next_second(poller, read_end)
            self._reap()
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                return
            if self.watches and time.monotonic() - self.measured_at >= MEASURE_SECONDS:
                self._watch(poller)

    def _next_second(self, poller: select.poll, read_end: int) -> None:
        """Let output flow again when the second it was too much for is over."""
        now = time.monotonic()
        if now - self.second_began >= 1:
            self.second_began, self.logged_bytes = now, 0
            if self.waits:
                self.waits = False
                poller.register(read_end, select.POLLIN)

    def _patience(self) -> int | None:
        """Milliseconds until something has to be done without being told."""
        now = time.monotonic()
        moments = []
        if self.kill_at is not None:
            moments.append(self.kill_at - now)
        if self.watches:
            moments.append(self.measured_at + MEASURE_SECONDS - now)
        if self.waits:
            moments.append(self.second_began + 1 - now)
        if self.log.partial:
            moments.append(PARTIAL_SECONDS)
        return None if not moments else max(0, int(min(moments) * 1000) + 1)

    def _signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers and self.kill_at is None:
            self._stop("stopped", float(self.launch["grace_seconds"]))

    def _stop(self, reason: str, grace_seconds: float) -> None:
        self.reason = self.reason or reason
        program = program_of(self.child) if ON_LINUX else self.child
        if program is None or grace_seconds <= 0:
            self.kill_at = time.monotonic()
            return
        self.kill_at = time.monotonic() + grace_seconds
        _kill(program, signal.SIGTERM)

    def _copy(self, read_end: int) -> bool:
        """Copy what is there; False at the end of the output."""
        try:
            data = os.read(read_end, 65536)
        except BlockingIOError:
            return True
        self.logged_bytes += self.log.add(data)
        return bool(data)

    def _reap(self) -> None:
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.raw_status = raw

    def _watch(self, poller: select.poll) -> None:
        """What has to be looked at every second: measured limits, or the scope systemd made."""
        self.measured_at = time.monotonic()
        if self.launch["scope"]:
            # systemd takes the scope away with its last process, so its counter is watched, not read at the end.
            self.events = scope_events(self.child)
            if self.events >= 0:
                poller.register(self.events, select.POLLPRI)
                self.watches = False
            return
        pids = descendants(os.getpid())
        limit = int(self.launch["memory_bytes"])
        if memory_of(pids) > limit and fair_memory_of(pids) > limit:
            self._stop("memory", 0)
        elif sum(threads_of(pid) for pid in pids) > int(self.launch["processes"]):
            self._stop("processes", 0)

    def _end_everything(self) -> None:
        """Kill what is left until there is nothing; new orphans come to us and are killed too."""
        give_up_at = time.monotonic() + KILL_SECONDS
        while time.monotonic() < give_up_at:
            if self.raw_status is None:
                _kill_group(self.child)
            below = descendants(os.getpid())
            for pid in below:
                _kill(pid, signal.SIGKILL)
            self._reap()
            if not below and self.raw_status is not None:
                return
            time.sleep(0.005)

    def _drain(self, read_end: int) -> None:
        while select.select([read_end], [], [], 0)[0] and self._copy(read_end):
            continue
        self.log.flush()

    def _write_the_end(self) -> None:
        code = -1 if self.raw_status is None else os.waitstatus_to_exitcode(self.raw_status)
        code = 128 - code if code < 0 else code
        if not self.reason and code == 128 + signal.SIGKILL and (self.oom_kills or oom_kills(self.launch["cgroups"])):
            self.reason = "memory"
        for folder in self.launch["cgroups"]:
            remove_cgroup(folder)
        self.status |= {"ended_at": now_text(), "exit_code": code, "reason": self.reason or "exited"}
        write_atomically(STATUS, self.status)


def become_program(launch: dict[str, Any], output: int) -> None:
    """In the new process: limits, account, then the program. Does not return."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for folder in launch["cgroups"]:
            with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")
        if launch["cpus"] and ON_LINUX:
            os.sched_setaffinity(0, launch["cpus"])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        _prefer_as_victim()
        if launch["account"]:
            uid, gid = launch["account"]
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        if launch["bare"]:
            # Elsewhere bubblewrap does it, for the program alone: it needs its own privileges to close the sandbox.
            _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        # Should the supervisor die, nobody would hold the limits: its program dies with it.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.umask(0o022)
        os.chdir(launch["folder"])
        # What tells that the program has begun closes by itself, and only then.
        close_from(STARTED_FD + 1)
    except OSError as wrong:
        os.write(2, f"The program could not be prepared: {wrong}\n".encode())
        os._exit(126)
    try:
        os.execvpe(launch["argv"][0], launch["argv"], launch["environment"])  # noqa: S606 — no shell is wanted
    except OSError as wrong:
        os.write(2, f"supervisor: {launch['argv'][0]}: {wrong.strerror}\n".encode())
    finally:
        os._exit(127)


def close_from(first: int) -> None:
    """Close all descriptors from ``first`` on: whatever the platform was started with is not the program's."""
    try:
        names = os.listdir("/proc/self/fd" if ON_LINUX else "/dev/fd")
    except OSError:
        os.closerange(first, OPEN_FILES)
        return
    for number in sorted(int(name) for name in names if name.isdigit()):
        if number >= first:
            try:
                os.close(number)
            except OSError:
                # The listing's own descriptor.
                continue


def _prefer_as_victim() -> None:
    """When the whole machine runs out of memory, environments go before the platform."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")
    except OSError:
        return


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def remove_cgroup(folder: str) -> None:
    """Remove a control group, waiting for the kernel to let go of its last process."""
    for _ in range(50):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            # The kernel needs a moment after the last process.
            time.sleep(0.01)
        else:
            return


def _hold_lock() -> bool:
    """Take the folder for ourselves. A look from outside may hold it for an instant."""
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def become_supervisor(folder: str) -> None:
    """In the new process: supervise the run in ``folder``, whose start is told on STARTED_FD. Does not return."""
    code = 1
    try:
        os.setsid()
        os.umask(0o077)
        complaint = os.open(f"{folder}/{COMPLAINT}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(complaint, 2)
        close_from(STARTED_FD + 1)
        code = supervise(folder)
    except BaseException:
        # Nobody is above us who could say it; the platform reads this file.
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        # Never back into the loop of the process we are a copy of.
        os._exit(code)


def supervise(folder: str) -> int:
    """Supervise the run in ``folder`` to its end; 75 when somebody does already."""
    os.chdir(folder)
    if not _hold_lock():
        return 75
    with open(LAUNCH, encoding="utf-8") as file:
        launch = json.load(file)
    # It holds the environment's variables; nobody needs it any more.
    os.unlink(LAUNCH)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    Supervisor(launch).run()
    return 0
