"""Where the edge, the web application and the gate meet: sockets in a folder of ours.

The folder is readable by us alone, so nobody else on the machine can talk to the web
application or the gate without passing the edge. This module must never leave a socket
or a folder behind, also not that of a process that was killed.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOCKET_NAMES = ("web.sock", "gate.sock", "relay.sock")
# What the kernel's address structure holds, less the closing zero byte.
_LONGEST_PATH = 103 if sys.platform == "darwin" else 107


@dataclass(frozen=True)
class EdgeRooms:
    """``home`` belongs to Caddy; ``sockets`` is another folder only where paths are too long."""

    home: Path
    sockets: Path

    @property
    def web(self) -> Path:
        """Socket of the web application."""
        return self.sockets / "web.sock"

    @property
    def gate(self) -> Path:
        """Socket of the gate."""
        return self.sockets / "gate.sock"

    @property
    def relay(self) -> Path:
        """Socket of the relay of open connections."""
        return self.sockets / "relay.sock"

    @property
    def caddy_record(self) -> Path:
        """Which Caddy is ours, so that a start after a crash can end it."""
        return self.home / "caddy.json"


def _elsewhere_note(home: Path) -> Path:
    return home / "sockets-folder"


def open_rooms(run_dir: Path) -> EdgeRooms:
    """Make the folders, and clear away what a killed predecessor left in them."""
    home = run_dir / "edge"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    note = _elsewhere_note(home)
    if note.exists():
        _remove_elsewhere(Path(note.read_text(encoding="utf-8")))
        note.unlink()
    for name in SOCKET_NAMES:
        (home / name).unlink(missing_ok=True)
    if max(len(str(home / name).encode()) for name in SOCKET_NAMES) <= _LONGEST_PATH:
        return EdgeRooms(home=home, sockets=home)
    elsewhere = Path(tempfile.mkdtemp(prefix="cmbcluster-"))
    note.write_text(str(elsewhere), encoding="utf-8")
    return EdgeRooms(home=home, sockets=elsewhere)


def _remove_elsewhere(folder: Path) -> None:
    # The note could have been written by anybody who owned the folder before us, so only a
    # folder of the shape we make is taken away.
    if folder.name.startswith("cmbcluster-") and folder.parent == Path(tempfile.gettempdir()):
        shutil.rmtree(folder, ignore_errors=True)


def close_rooms(rooms: EdgeRooms) -> None:
    """Remove every socket and folder."""
    if rooms.sockets != rooms.home:
        _remove_elsewhere(rooms.sockets)
    shutil.rmtree(rooms.home, ignore_errors=True)
    with contextlib.suppress(OSError):
        rooms.home.parent.rmdir()


def listen(path: Path) -> socket.socket:
    """A listening socket at ``path`` that only our own account may connect to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1024)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
