"""Trying out what this machine can do, by running its tools once as the account that will use them.

A tool that fails halfway can leave a child behind that holds its pipes and never ends, so
nothing is read from a pipe here and the whole process group is ended in any case.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # the probe runs the real tools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cmbcluster.packages.account import Account, may

PROBE_SECONDS = 15.0
SAID_BYTES = 4096
TUN = Path("/dev/net/tun")


def complaint_of(command: Sequence[str], account: Account, seconds: float = PROBE_SECONDS) -> str | None:
    """None when the command works, else the last line it said. Blocking, some tens of milliseconds."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603 — our own constant words
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd="/",
                start_new_session=True,
                user=account.uid if account.changes else None,
                group=account.gid if account.changes else None,
                extra_groups=[] if account.changes else None,
            )
        except OSError as wrong:
            return str(wrong.strerror)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return "it did not answer"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code == 0:
            return None
        said.seek(0)
        lines = said.read(SAID_BYTES).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {code}"


def tun_closed(account: Account) -> tuple[str, str]:
    """Why pasta cannot make a network interface, and the command that mends it; nothing when it can."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    if not TUN.exists():
        return f"{TUN} is not there", f"{sudo}modprobe tun"
    if not may(account, TUN, 6):
        return f"{TUN} is closed to the account {account.name}", f"{sudo}chmod a+rw {TUN}"
    return "", ""
