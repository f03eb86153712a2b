"""Becomes the supervisor of each run it is asked for: ``python -I -S supervisor.py``, a channel on descriptor 3.

Loading an interpreter and its modules costs every launch 25 ms of a processor; this process
pays once and then makes a copy of itself for each run, in a millisecond. It ends when the
platform does, and its copies go on. It must never do anything itself but copy itself.
"""

from __future__ import annotations

import os
import sys

CHANNEL = 3
LONGEST_REQUEST_BYTES = 4096


def serve() -> None:
    """Answer each request (a run's folder, with the pipe that tells of its start) with a process id, until the end."""
    # All of it before the first copy: what is loaded once is shared by all.
    import gc
    import signal
    import socket

    from cmbcluster.runtime.local import supervision

    supervision.close_from(CHANNEL + 1)
    # The kernel takes note of our copies' ends; each sets this anew for its own children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel = socket.socket(fileno=CHANNEL)
    gc.freeze()
    while True:
        request, pipes, _, _ = socket.recv_fds(channel, LONGEST_REQUEST_BYTES, 1)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            # Takes the channel's place, which only the first process may read.
            os.dup2(pipes[0], supervision.STARTED_FD)
            supervision.become_supervisor(os.fsdecode(request))
        for pipe in pipes:
            os.close(pipe)
        channel.sendall(str(pid).encode() + b"\n")


if __name__ == "__main__":
    # Isolated mode puts no folder on the path; this package's own is all that is needed.
    sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))
    serve()
