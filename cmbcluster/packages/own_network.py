"""A network of one's own: pasta's words, and what must not be reached from inside.

Environments and builds both get one: the internet outward, nothing of this machine. This
module only describes it; it must never start anything.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

# The address inside that pasta answers with this machine's own resolver, wherever that listens.
NAME_SERVER = "169.254.1.1"
# Cloud machines hand their credentials to whoever asks there.
METADATA_SERVICE = "169.254.169.254"
NETWORK = (
    "--foreground", "--quiet", "--config-net", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw",
    "--dns-forward", NAME_SERVER,
)  # fmt: skip
_ROUTES_THEN = '"$1" -batch "$2" || exit 70; shift 2; exec "$@"'


def within(pasta: str, ip: str, inward: str, routes: Path, command: Sequence[str]) -> list[str]:
    """The command that runs ``command`` in a network of its own; ``inward`` is pasta's word for ports."""
    inside = list(command)
    if ip:
        inside = ["/bin/sh", "-c", _ROUTES_THEN, "sh", ip, str(routes), *inside]
    return [pasta, *NETWORK, "-t", inward, "--", *inside]


def routes_text() -> str:
    """The batch for ``ip`` that closes the addresses of this machine."""
    return "".join(f"route add unreachable {address}\n" for address in unreachable_addresses())


def resolver_text(*, own_network: bool) -> str:
    """The resolver's file: pasta's address with the machine's search domains, or the machine's own."""
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    if not own_network:
        return "\n".join(lines) + "\n"
    kept = [line for line in lines if line.startswith(("search", "domain"))]
    return "\n".join([f"nameserver {NAME_SERVER}", *kept]) + "\n"


def unreachable_addresses() -> list[str]:
    """Addresses that must not be reached beside those pasta already gives to the network itself."""
    addresses = [f"{METADATA_SERVICE}/32"]
    template = _interface_of_default_route()
    for interface, rows in psutil.net_if_addrs().items():
        if interface == template:
            continue
        for row in rows:
            address = row.address.split("%")[0]
            if row.family == socket.AF_INET and not address.startswith("127."):
                addresses.append(f"{address}/32")
            elif row.family == socket.AF_INET6 and address != "::1" and not address.startswith("fe80"):
                addresses.append(f"{address}/128")
    return sorted(set(addresses))


def tool_path() -> str:
    """Where tools are looked for: distributions hide some of them from ordinary users' PATH."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _interface_of_default_route() -> str:
    try:
        rows = [line.split() for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return ""
    return next((row[0] for row in rows if len(row) > 7 and row[1] == "00000000" and row[7] == "00000000"), "")
