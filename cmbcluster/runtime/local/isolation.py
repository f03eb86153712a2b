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

OWN_NETWORK, SANDBOX, NONE = "own-network", "sandbox", "none"
RANKS = {NONE: 0, SANDBOX: 1, OWN_NETWORK: 2}
PROBE_SECONDS = 15.0
WORKSPACE = Path("/workspace")
PERSON_ID = 1000
# The address inside that pasta answers with this machine's own resolver, wherever that listens.
NAME_SERVER = "169.254.1.1"
# Cloud machines hand their credentials to whoever asks there.
METADATA_SERVICE = "169.254.169.254"
# No namespaces inside the namespace: most ways out of a kernel begin there.
NO_NESTING: tuple[str, ...] = ("--disable-userns",)
# Fresh and empty for each environment; mounted first, so that a build below one of them stays visible.
PRIVATE = (
    "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", "/run", "--proc", "/proc", "--dev", "/dev",  # noqa: S108
)  # fmt: skip
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/nix/store", "/gnu/store",
    "/run/current-system", "/var/lib/texmf", "/var/cache/fontconfig", "/sys/devices/system/cpu",
)  # fmt: skip
_INSTALL = {
    "debian": "apt-get install", "ubuntu": "apt-get install", "fedora": "dnf install", "rhel": "dnf install",
    "centos": "dnf install", "arch": "pacman -S", "suse": "zypper install", "opensuse": "zypper install",
    "alpine": "apk add",
}  # fmt: skip
_NETWORK = (
    "--foreground", "--quiet", "--config-net", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw",
    "--dns-forward", NAME_SERVER,
)  # fmt: skip
_ROUTES_THEN = '"$1" -batch "$2" || exit 70; shift 2; exec "$@"'


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
    outer_port: int
    inner_port: int
    certificates: tuple[Path, ...] = ()
    outspoken: Mapping[str, str] = field(default_factory=dict)


def system_view(paths: Sequence[str] = _SYSTEM) -> tuple[tuple[str, str, str], ...]:
    """bubblewrap's words for the read-only system of this machine."""
    words: list[tuple[str, str, str]] = []
    for path in paths:
        if os.path.islink(path):
            words.append(("--symlink", os.readlink(path), path))
        elif os.path.isdir(path):
            words.append(("--ro-bind", path, path))
    return tuple(words)


def argv(isolation: Isolation, view: View) -> list[str]:
    """The command line of one environment at the given level."""
    if isolation.level == NONE:
        return list(view.command)
    inside = [isolation.bwrap, *_sandbox(isolation, view), "--", *view.command]
    if isolation.level == SANDBOX:
        return inside
    if isolation.ip:
        inside = ["/bin/sh", "-c", _ROUTES_THEN, "sh", isolation.ip, str(view.files / "routes"), *inside]
    return [isolation.pasta, *_NETWORK, "-t", f"127.0.0.1/{view.outer_port}:{view.inner_port}", "--", *inside]


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
    bwrap, pasta, ip = (shutil.which(name, path=_tool_path()) or "" for name in ("bwrap", "pasta", "ip"))
    system = system_view()
    if not bwrap:
        what = "bubblewrap is not installed, so environments see this machine's files and network."
        return Isolation(NONE, what, _install("bubblewrap", *([] if pasta else ["passt"])))
    true = shutil.which("true", path=_tool_path()) or "true"
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
    said = await _try([pasta, *_NETWORK, "-t", "none", "--", *inside], account)
    if said is not None:
        what = f"A network of its own could not be made ({said}), so environments share the loopback network."
        return Isolation(SANDBOX, what, "", bwrap=bwrap, system=system, nesting=nesting)
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
    keywords = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.changes else {}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        start_new_session=True,
        **keywords,  # type: ignore[arg-type]
    )
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return "it did not answer"
    if process.returncode == 0:
        return None
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {process.returncode}"


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


def _tool_path() -> str:
    """Where tools are looked for: distributions hide some of them from ordinary users' PATH."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
