"""The closed room uv works in: build scripts of packages run there and nowhere else.

A build script is anybody's code. In the room it finds the system read-only, uv's cache, one
folder to build in and the internet; no workspace, no data, and where pasta works nothing of
this machine's network. Everything in the room dies with it. This module must never show a
room more than it was asked to.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cmbcluster.packages.account import Account, blocked_at, may
from cmbcluster.packages.own_network import NETWORK, tool_path, within
from cmbcluster.packages.probing import complaint_of

# No namespaces inside the namespace: most ways out of a kernel begin there.
NO_NESTING: tuple[str, ...] = ("--disable-userns",)
# Fresh and empty each time; mounted first, so that a build below one of them stays visible.
PRIVATE = (
    "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", "/run", "--proc", "/proc", "--dev", "/dev",  # noqa: S108
)  # fmt: skip
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/nix/store", "/gnu/store",
    "/run/current-system", "/var/lib/texmf", "/var/cache/fontconfig", "/sys/devices/system/cpu",
)  # fmt: skip
_CLOSED = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session")
_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/\s@\"']*@)?(\[[0-9A-Fa-f:.]+\]|[^/\s:\"',\]]+)")
_PATH = re.compile(r"(?:^|[\s,\"'=]|file://)(/[^\s,\"']+)")


@dataclass(frozen=True)
class Room:
    """What this machine can do. Empty ``bwrap``: no room; empty ``pasta``: no network of its own."""

    bwrap: str = ""
    pasta: str = ""
    ip: str = ""
    system: tuple[tuple[str, str, str], ...] = ()
    nesting: tuple[str, ...] = NO_NESTING


@dataclass(frozen=True)
class Openings:
    """What one call may see beside the system: ``readable`` and ``writable`` folders or files."""

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    cache: Path | None = None
    network: bool = True


@dataclass(frozen=True)
class Place:
    """What is the same for all calls: the data folder to hide, HOME, and the user's own configuration."""

    hidden: Path
    home: Path
    files: Path  # routes and resolv.conf of rooms with a network of their own
    configured: tuple[Path, ...] = ()
    own_network: bool = True  # False: an index or a proxy is on this machine, so its network is needed


def system_view(paths: Sequence[str] = SYSTEM) -> tuple[tuple[str, str, str], ...]:
    """bubblewrap's words for the read-only system of this machine."""
    words: list[tuple[str, str, str]] = []
    for path in paths:
        if os.path.islink(path):
            words.append(("--symlink", os.readlink(path), path))
        elif os.path.isdir(path):
            words.append(("--ro-bind", path, path))
    return tuple(words)


def around(room: Room, place: Place, openings: Openings, folder: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` in ``folder`` inside a room."""
    own_network = openings.network and bool(room.pasta) and place.own_network
    words = [room.bwrap, *_CLOSED, *room.nesting, *PRIVATE]
    if not openings.network:
        words.append("--unshare-net")
    for row in room.system:
        words += row
    if place.home != Path("/"):
        words += ["--tmpfs", str(place.home)]
    for path in place.configured:
        words += ["--ro-bind-try", str(path), str(path)]
    # After what the configuration names: it must not open the data folder again.
    words += ["--tmpfs", str(place.hidden)]
    if place.home.is_relative_to(place.hidden):
        words += ["--dir", str(place.home)]
    system = [Path(target) for kind, _, target in room.system if kind == "--ro-bind"]
    for path in openings.readable:
        if path.is_relative_to(place.hidden) or not any(path.is_relative_to(shown) for shown in system):
            words += ["--ro-bind", str(path), str(path)]
    for path in (*openings.writable, *([openings.cache] if openings.cache else [])):
        words += ["--bind", str(path), str(path)]
    resolver = os.path.realpath("/etc/resolv.conf")
    source = str(place.files / "resolv.conf") if own_network else resolver
    words += ["--ro-bind-try", source, resolver, "--remount-ro", "/", "--chdir", str(folder), "--", *command]
    return within(room.pasta, room.ip, "none", place.files / "routes", words) if own_network else words


def probe_room(account: Account) -> Room:
    """What this machine can do, found by running its tools as the account. Blocking, some tens of milliseconds."""
    if sys.platform != "linux":
        return Room()
    bwrap, pasta, ip = (shutil.which(name, path=tool_path()) or "" for name in ("bwrap", "pasta", "ip"))
    true = shutil.which("true", path=tool_path()) or "true"
    system = system_view()
    if not bwrap:
        return Room()
    for nesting in (NO_NESTING, ()):
        words = [bwrap, *_CLOSED, *nesting, *PRIVATE, *(word for row in system for word in row), "--", true]
        if complaint_of(words, account) is not None:
            continue
        in_own_network = [pasta, *NETWORK, "-t", "none", "--", *words]
        own_network = bool(pasta) and complaint_of(in_own_network, account) is None
        return Room(bwrap, pasta if own_network else "", ip, system, nesting)
    return Room()


def asks_this_machine(told: Iterable[str]) -> bool:
    """Whether an address in configuration texts is one of this machine, so that its network has to be shared."""
    hosts = {host.strip("[]").lower() for text in told for host in _HOST.findall(text)}
    own = {"localhost", "::1", "0.0.0.0", socket.gethostname().lower()}  # noqa: S104 — compared, not bound
    own |= {row.address.split("%")[0].lower() for rows in psutil.net_if_addrs().values() for row in rows}
    try:
        lines = Path("/etc/hosts").read_text(encoding="utf-8", errors="replace").lower().splitlines()
    except OSError:
        lines = []
    for words in (line.split("#")[0].split() for line in lines):
        if words and (words[0] in own or words[0].startswith("127.")):
            own.update(words[1:])
    return any(host in own or host.startswith("127.") or host.endswith(".localhost") for host in hosts)


def named_paths(told: Iterable[str], account: Account) -> tuple[Path, ...]:
    """Files and folders that configuration texts name and the account can read."""
    named = {Path(path) for text in told for path in _PATH.findall(text)}
    return tuple(
        sorted(
            path
            for path in named
            if path.exists()
            and path != Path("/")
            and blocked_at(account, path.parent) is None
            and may(account, path, 4)
        )
    )


def proxies(environment: Mapping[str, str]) -> list[str]:
    """The proxies of an environment as addresses, also those written without a scheme."""
    found = [
        value for name, value in environment.items() if name.lower().endswith("_proxy") and name.lower() != "no_proxy"
    ]
    return [value if "://" in value else f"http://{value}" for value in found if value]
