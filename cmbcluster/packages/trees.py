"""Walking, deleting and taking over folders that somebody else filled.

Such a folder can be thousands of levels deep and full of links. Nothing here recurses,
builds a path from what it finds or follows a link; it goes by descriptors, few at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Entries = list[tuple[str, os.stat_result]]


def walk(folder: Path) -> Iterator[tuple[int, Entries]]:
    """(descriptor, what lies in it) of a folder and all below; the descriptor is good until the next one.

    Folders that cannot be opened are left out. Raises OSError when the way back up has
    changed under us.
    """
    here = os.open(folder, _FOLDER)
    # Of each folder on the way down: which it is, and which below it are still to be seen.
    way: list[tuple[tuple[int, int], list[str]]] = []
    try:
        while True:
            entries = _entries(here)
            yield here, entries
            own = os.fstat(here)
            way.append(((own.st_dev, own.st_ino), [name for name, seen in entries if stat.S_ISDIR(seen.st_mode)]))
            below = -1
            while below < 0:
                if way[-1][1]:
                    with contextlib.suppress(OSError):
                        below = os.open(way[-1][1].pop(), _FOLDER, dir_fd=here)
                    continue
                way.pop()
                if not way:
                    return
                above = os.open("..", _FOLDER, dir_fd=here)
                os.close(here)
                here = above
                seen = os.fstat(here)
                if (seen.st_dev, seen.st_ino) != way[-1][0]:
                    raise OSError(errno.EAGAIN, "the folder changed while it was read")
            os.close(here)
            here = below
    finally:
        os.close(here)


def size_of(folder: Path) -> int:
    """Bytes on disk below a folder; a file with several names counts once. Raises OSError."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for _, entries in walk(folder):
        for _, found in entries:
            if stat.S_ISDIR(found.st_mode):
                continue
            if found.st_nlink > 1:
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * 512
    return total


def remove_tree(folder: Path) -> None:
    """Remove a folder (or a file or link in its place) and all in it. Raises OSError.

    Folders within are brought to the top before they are emptied, so that depth does not
    matter. Interrupted, it can simply be called again.
    """
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(folder)
        return
    top = _opened(str(folder))
    try:
        waiting = _emptied(top, top)
        while waiting:
            name = waiting.pop()
            inner = _opened(name, top)
            try:
                waiting += _emptied(inner, top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(folder)


def take_over(folder: Path, *, owned: bool) -> None:
    """Make what others wrote ours alone to change, and readable for all; ``owned``: change the owner, too.

    Nothing may run in the folder any more. What is neither file, folder nor link is removed.
    """
    for here, entries in walk(folder):
        if owned:
            os.fchown(here, 0, 0)
        os.fchmod(here, 0o755)
        for name, found in entries:
            if stat.S_ISDIR(found.st_mode):
                continue
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                os.unlink(name, dir_fd=here)
                continue
            if owned:
                os.chown(name, 0, 0, dir_fd=here, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                mode = 0o755 if found.st_mode & 0o100 else 0o644
                if stat.S_IMODE(found.st_mode) != mode:
                    os.chmod(name, mode, dir_fd=here)


def _entries(folder: int) -> Entries:
    """What lies in a folder; what goes away meanwhile is left out."""
    found: Entries = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
    return found


def _opened(name: str, above: int | None = None) -> int:
    """A descriptor of a folder, opened to ourselves first when its owner closed it."""
    try:
        folder = os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=above)
        return os.open(name, _FOLDER, dir_fd=above)
    if os.geteuid() != 0:
        os.fchmod(folder, stat.S_IRWXU)
    return folder


def _emptied(folder: int, top: int) -> list[str]:
    """Remove the files of a folder and bring its folders to the top; returns their names there."""
    brought: list[str] = []
    for name, found in _entries(folder):
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=folder)
        elif folder == top:
            brought.append(name)
        else:
            if os.geteuid() != 0:
                # A folder its owner closed cannot be moved: its way up is part of it.
                os.close(_opened(name, folder))
            fresh = f".going-{secrets.token_hex(8)}"
            os.rename(name, fresh, src_dir_fd=folder, dst_dir_fd=top)
            brought.append(fresh)
    return brought
