"""Where a server of ours listens: a socket in a folder of one machine, or an address of a network.

The platform in one terminal uses sockets, which nobody else can reach. Roles of their own use
addresses, and it is the network's policy that keeps strangers away from them: what listens
here believes the edge, so it must never be reachable from outside.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from cmbcluster.edge.rooms import listen as listen_at_path
from cmbcluster.errors import StartRefused

BACKLOG = 1024


@dataclass(frozen=True)
class TcpPlace:
    """Host and port. ``host`` is a name only where somebody dials it."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> TcpPlace:
        """``text`` as the settings have it, ``host:port`` or ``[v6]:port``."""
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        """As one writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Place = Path | TcpPlace


def listen(place: Place) -> socket.socket:
    """A listening socket; StartRefused when an address cannot be ours."""
    if isinstance(place, Path):
        return listen_at_path(place)
    listener = socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of a predecessor that are still closing are no reason to refuse.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((place.host, place.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as refused:
        listener.close()
        raise StartRefused(
            f"Nothing can listen on {place}: {refused.strerror}. Choose another address with the setting that "
            "names this one; `cmbcluster settings` shows them."
        ) from refused
    return listener


def let_go(place: Place) -> None:
    """Leave nothing behind of a place that nobody listens on any more."""
    if isinstance(place, Path):
        place.unlink(missing_ok=True)
