"""How an environment is separated from this machine: what is possible, and the command line for it.

Three levels: *own-network* (pasta around bubblewrap: one port inward, the internet outward,
nothing of this machine), *sandbox* (bubblewrap alone; the loopback network is shared) and
*none*. The probe runs the real tools once. ``argv`` is a pure function; it must never show
an environment more than the system, its build and its own workspace.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cmbcluster.errors import StartRefused
from cmbcluster.packages.account import Account
from cmbcluster.packages.own_network import NETWORK, tool_path, within
from cmbcluster.packages.probing import complaint_of, tun_closed
from cmbcluster.packages.room import NO_NESTING, PRIVATE, system_view

OWN_NETWORK, SANDBOX, NONE = "own-network", "sandbox", "none"
RANKS = {NONE: 0, SANDBOX: 1, OWN_NETWORK: 2}
WORKSPACE = Path("/workspace")
PERSON_ID = 1000
_INSTALL = {
    "debian": "apt-get install", "ubuntu": "apt-get install", "fedora": "dnf install", "rhel": "dnf install",
    "centos": "dnf install", "arch": "pacman -S", "suse": "zypper install", "opensuse": "zypper install",
    "alpine": "apk add",
}  # fmt: skip


@dataclass(frozen=True)
class Isolation:
    """What this machine can do. ``missing`` is a sentence, ``mend`` a command; both may be empty."""

    level: str
    missing: str = ""
    mend: str = ""
    bwrap: str = "bwrap"
    pasta: str = "pasta"
    ip: str = ""
    system: tuple[tuple[str, str, str], ...] = ()
    nesting: tuple[str, ...] = NO_NESTING  # empty for a bubblewrap that is too old to forbid it


@dataclass(frozen=True)
class View:
    """What one environment sees and where it listens."""

    command: tuple[str, ...]
    slug: str
    workspace: Path
    build: Path
    interpreter: Path  # the folder of the Python the build rests on
    files: Path  # hosts, passwd, group, resolv.conf and routes of this environment
    hidden: Path  # the platform's data folder
    outer_host: str
    outer_port: int
    inner_port: int
    certificates: tuple[Path, ...] = ()
    outspoken: Mapping[str, str] = field(default_factory=dict)


def argv(isolation: Isolation, view: View) -> list[str]:
    """The command line of one environment at the given level."""
    if isolation.level == NONE:
        return list(view.command)
    inside = [isolation.bwrap, *_sandbox(isolation, view), "--", *view.command]
    if isolation.level == SANDBOX:
        return inside
    inward = f"{view.outer_host}/{view.outer_port}:{view.inner_port}"
    return within(isolation.pasta, isolation.ip, inward, view.files / "routes", inside)


def _sandbox(isolation: Isolation, view: View) -> list[str]:
    words = [
        "--unshare-user", "--uid", str(PERSON_ID), "--gid", str(PERSON_ID), *isolation.nesting,
        "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", view.slug,
        "--die-with-parent", "--new-session",
        *PRIVATE,
    ]  # fmt: skip
    for row in isolation.system:
        words += row
    shown = [Path(target) for kind, _, target in isolation.system if kind == "--ro-bind"]
    if _within(view.hidden, shown):
        words += ["--tmpfs", str(view.hidden)]
    if not _within(view.interpreter, shown) or view.interpreter.is_relative_to(view.hidden):
        words += ["--ro-bind", str(view.interpreter), str(view.interpreter)]
    words += ["--ro-bind", str(view.build), str(view.build), "--bind", str(view.workspace), str(WORKSPACE)]
    for name in ("hosts", "passwd", "group"):
        words += ["--ro-bind", str(view.files / name), f"/etc/{name}"]
    words += ["--ro-bind", str(view.files / "resolv.conf"), os.path.realpath("/etc/resolv.conf")]
    for path in view.certificates:
        if not _within(path, shown):
            words += ["--ro-bind", str(path), str(path)]
    for name, value in sorted(view.outspoken.items()):
        words += ["--setenv", name, value]
    return [*words, "--remount-ro", "/", "--chdir", str(WORKSPACE)]


def _within(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


async def probe(account: Account) -> Isolation:
    """The best level of this machine, found by running its tools as the environments' account."""
    if sys.platform != "linux":
        return Isolation(
            NONE, "Only Linux can separate environments from the machine; here they are ordinary programs."
        )
    bwrap, pasta, ip = (shutil.which(name, path=tool_path()) or "" for name in ("bwrap", "pasta", "ip"))
    system = system_view()
    if not bwrap:
        what = "bubblewrap is not installed, so environments see this machine's files and network."
        return Isolation(NONE, what, _install("bubblewrap", *([] if pasta else ["passt"])))
    true = shutil.which("true", path=tool_path()) or "true"
    nesting = NO_NESTING
    said = await _try([*_simple(bwrap, nesting, system), "--", true], account)
    if said is not None:
        nesting = ()
        said = await _try([*_simple(bwrap, nesting, system), "--", true], account)
    if said is not None:
        reason, mend = _why_not()
        return Isolation(NONE, f"bubblewrap does not work here{reason or ': ' + said}.", mend)
    if not pasta:
        what = "passt is not installed, so environments share this machine's loopback network."
        return Isolation(SANDBOX, what, _install("passt"), bwrap=bwrap, system=system, nesting=nesting)
    inside = [*_simple(bwrap, nesting, system), "--", true]
    said = await _try([pasta, *NETWORK, "-t", "none", "--", *inside], account)
    if said is not None:
        closed, mend = tun_closed(account)
        what = f"A network of its own could not be made ({closed or said}), so environments share the loopback network."
        return Isolation(SANDBOX, what, mend, bwrap=bwrap, system=system, nesting=nesting)
    missing = "" if ip else "iproute2 is not installed, so other addresses of this machine can be reached."
    return Isolation(OWN_NETWORK, missing, "" if ip else _install("iproute2"), bwrap, pasta, ip, system, nesting)


def _simple(bwrap: str, nesting: Sequence[str], system: Sequence[Sequence[str]]) -> list[str]:
    """A sandbox with nothing in it but the system, to see whether one can be made."""
    words = [
        bwrap,
        "--unshare-user",
        "--uid",
        str(PERSON_ID),
        *nesting,
        "--unshare-pid",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    for row in system:
        words += row
    return words


def check_level(isolation: Isolation, least: str) -> None:
    """Raise StartRefused when the machine separates less than the settings accept."""
    if least != "auto" and RANKS[isolation.level] < RANKS[least]:
        mend = f" This would mend it: {isolation.mend}" if isolation.mend else ""
        raise StartRefused(
            f"CMB_LOCAL_ISOLATION asks for {least}, and this machine only has {isolation.level}. "
            f"{isolation.missing}{mend}"
        )


async def _try(command: Sequence[str], account: Account) -> str | None:
    """None when the command works, else the last line it said."""
    return await asyncio.to_thread(complaint_of, command, account)


def _why_not() -> tuple[str, str]:
    """Why user namespaces are closed here, and the command that opens them."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    closed = (
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    )
    for path, value, mend in closed:
        try:
            found = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if found == value:
            return ": the kernel does not let ordinary users make namespaces", f"{sudo}sysctl -w {mend}"
    return "", ""


def _install(*packages: str) -> str:
    """The command that installs packages on this distribution, or nothing when it is not known."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    names = [told.get("ID", "").strip('"'), *told.get("ID_LIKE", "").strip('"').split()]
    command = next((_INSTALL[name] for name in names if name in _INSTALL), "")
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}{command} {' '.join(packages)}" if command else ""
