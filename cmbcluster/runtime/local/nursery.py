"""Where supervisors come from: our end of the channel to ``supervisor.py``.

That process is started with the platform and ends with it; supervisors outlive both. One
that is gone is started anew with the next launch. This module must never hand a supervisor
anything but the folder of its run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from cmbcluster.runtime.local import supervisor

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Spawned:
    """A supervisor that was started. ``started`` is closed when the program has begun."""

    pid: int
    started: int


class Nursery:
    """Makes supervisors; used from several threads, one at a time."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._channel: socket.socket | None = None
        self._pid = 0

    def open(self) -> None:
        """Start the process, so that the first launch does not wait for it. Raises OSError."""
        with self._turn:
            if self._channel is None:
                self._start()

    def close(self) -> None:
        """End the process; supervisors go on."""
        with self._turn:
            self._end()

    def spawn(self, folder: Path) -> Spawned:
        """Start a supervisor for a run's folder; it survives us. Blocking, about a millisecond. Raises OSError."""
        started, other_end = os.pipe()
        try:
            with self._turn:
                try:
                    pid = self._ask(folder, other_end)
                except OSError:
                    # It was killed since the last launch; a new one has not had the time to be.
                    self._end()
                    pid = self._ask(folder, other_end)
        except BaseException:
            os.close(started)
            raise
        finally:
            os.close(other_end)
        return Spawned(pid, started)

    def _ask(self, folder: Path, pipe: int) -> int:
        channel = self._channel or self._start()
        socket.send_fds(channel, [os.fsencode(folder)], [pipe])
        answer = channel.recv(32)
        if not answer.endswith(b"\n"):
            raise ConnectionResetError("the process that makes supervisors has ended")
        return int(answer)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", supervisor.__file__],
                {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), supervisor.CHANNEL),
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                # Ctrl-C in our terminal is not meant for it.
                setsid=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(ANSWER_SECONDS)
        self._channel = ours
        return ours

    def _end(self) -> None:
        if self._channel is None:
            return
        self._channel.close()
        self._channel = None
        # The end of the channel ends it; only its closing interpreter is waited for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
