"""Whom other people's code runs as: ourselves, or an unprivileged account when root runs us.

Installing a package can run its build script, and an environment runs anything, so neither
may ever happen as root. This module decides who it is instead and where that account can
pass; it must never change who *we* are.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from cmbcluster.errors import StartRefused


@dataclass(frozen=True)
class Account:
    """``changes`` is set when root runs us and processes must be moved to this account."""

    name: str
    uid: int
    gid: int
    changes: bool


def account_for_others(name: str) -> Account:
    """The account foreign code runs as; ``name`` counts only when root runs us.

    Raises StartRefused when there is no such account or when it is root itself.
    """
    if os.geteuid() != 0:
        own = os.geteuid()
        try:
            own_name = pwd.getpwuid(own).pw_name
        except KeyError:
            own_name = str(own)
        return Account(own_name, own, os.getegid(), changes=False)
    try:
        entry = pwd.getpwnam(name)
    except KeyError as absent:
        raise StartRefused(
            f"There is no account “{name}” on this machine, and environments must not run as root. "
            "Create it, or set CMB_LOCAL_ACCOUNT to another unprivileged account."
        ) from absent
    if entry.pw_uid == 0:
        raise StartRefused(
            f"CMB_LOCAL_ACCOUNT is “{name}”, which is root. Set it to an unprivileged account, for example nobody."
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, changes=True)


def may(account: Account, path: Path, wanted: int) -> bool:
    """Whether the permission bits let the account do ``wanted`` (of 4 read, 2 write, 1 pass)."""
    if not account.changes:
        return os.access(path, wanted)
    try:
        seen = path.stat()
    except OSError:
        return False
    if seen.st_uid == account.uid:
        shift = 6
    elif seen.st_gid == account.gid:
        shift = 3
    else:
        shift = 0
    return (stat.S_IMODE(seen.st_mode) >> shift) & wanted == wanted


def blocked_at(account: Account, path: Path) -> Path | None:
    """The first folder on the way down to ``path`` (itself included) the account cannot pass."""
    for folder in [*reversed(path.absolute().parents), path.absolute()]:
        if folder.is_dir() and not may(account, folder, 1):
            return folder
    return None


def can_run(account: Account, program: Path) -> bool:
    """Whether the account can reach and execute ``program``, links followed."""
    real = program.resolve()
    reachable = blocked_at(account, program.parent) is None and blocked_at(account, real.parent) is None
    return reachable and may(account, real, 5)


def give(account: Account, path: Path) -> None:
    """Make the account the owner of one file or folder, when that is not us anyway."""
    if account.changes:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
