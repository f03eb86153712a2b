"""Makes room in the volume of packages; sent to pods with the program that installs, which alone sees the volume.

What goes is what the platform did not name as needed, that which was unused for longest first,
and of uv's download cache what no build has. The time of a build's lock says when it was used
last; whoever begins a build, finds one or removes one holds that lock meanwhile. It must never
remove what was used after the platform had looked, nor anything outside of the volume.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGES = Path(os.environ.get("CMB_PACKAGES", "/packages"))
FOLDERS = ("builds", "half", "locks")
# What build scripts may have touched is kept apart from what everybody links to.
CACHES = ("cache", "cache-from-source")
CACHE_LOCK = "cache"
# With less than the first share free room is made before an installation begins, and then until the second is.
LOW_SHARE = 0.05
ROOMY_SHARE = 0.2
# Clocks of machines differ: what was used so shortly before the platform looked counts as used after it.
CLOCKS_SECONDS = 120.0
# What the platform says instead of a list when it does not know what is needed: everything is.
EVERYTHING = "*"
KEY_BEGINNING = 12
# uv's notes of what it downloaded are smaller.
NOTE_BYTES = 256 * 1024


def take(name: str, how: int) -> int:
    """Take a lock of the volume; raises BlockingIOError where ``how`` says not to wait. Its time is not touched."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(PACKAGES / "locks" / name, flags, 0o644)
    try:
        fcntl.flock(lock, how)
    except BaseException:
        os.close(lock)
        raise
    return lock


@contextmanager
def held(name: str, how: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Hold a lock of the volume."""
    lock = take(name, how)
    try:
        yield lock
    finally:
        os.close(lock)


@contextmanager
def held_if_free(name: str) -> Iterator[int | None]:
    """The lock of a build, None when somebody has it. One that is made for it has the build's own time."""
    is_new = not (PACKAGES / "locks" / name).exists()
    try:
        lock = take(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
        return
    try:
        if is_new:
            made_at = (PACKAGES / "builds" / name).lstat().st_mtime
            os.utime(lock, (made_at, made_at))
        yield lock
    finally:
        os.close(lock)


def is_sound() -> bool:
    """Whether no folder of the volume is a link, which may lead anywhere; nothing is removed from one that is not."""
    return not any((PACKAGES / name).is_symlink() for name in (*FOLDERS, *CACHES))


def folders_in(folder: Path) -> list[Path]:
    """The real folders in a folder, without links to others; none where it is no real folder itself."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def free_share(also_bytes: int = 0, also_files: int = 0) -> float:
    """What is free of the volume's bytes and of its files, the smaller share; with that many more of them."""
    found = os.statvfs(PACKAGES)
    # A volume that does not count says that it has none.
    of_files = (found.f_favail + also_files) / found.f_files if found.f_files else 1.0
    if not found.f_blocks:
        return of_files
    return min(of_files, (found.f_bavail * found.f_frsize + also_bytes) / (found.f_blocks * found.f_frsize))


class Needed:
    """When each build was needed last, as the platform knew it when it made this pod.

    Told as the platform's own time and then, for each build, the beginning of its key and the seconds since.
    """

    def __init__(self, told: str) -> None:
        self._seconds: dict[str, float] = {}
        self.looked_at: float | None = None
        try:
            first, *others = told.split()
            for each in others:
                beginning, _, seconds = each.partition(":")
                self._seconds[beginning] = float(seconds)
            self.looked_at = float(first)
        except ValueError:
            # Everything is needed, or what was told cannot be read.
            self._seconds.clear()

    def used_at(self, key: str) -> float:
        """When the platform saw it used last; 0 for one that it does not know."""
        seconds = self._seconds.get(key[:KEY_BEGINNING])
        return 0.0 if seconds is None or self.looked_at is None else self.looked_at - seconds


class Room:
    """What can be removed from the volume without harm to anybody: builds as often as it is asked for, then caches."""

    def __init__(self, key: str, needed: Needed) -> None:
        self._key = key
        self._needed = needed
        self._began_at = time.time()
        self._has_caches = True
        self.removed = 0

    def note_use(self) -> None:
        """Write down for installations to come what the platform knows of use: only the volume remembers it."""
        for build in self._builds():
            used_at = self._needed.used_at(build.name)
            with held_if_free(build.name) as lock:
                if lock is not None and used_at > os.fstat(lock).st_mtime:
                    os.utime(lock, (used_at, used_at))

    def remove_some(self, *, wait: bool = True) -> bool:
        """Remove builds until the volume is roomy, those unused for longest first; says whether any went.

        What is installed may need more than a roomy volume has, so it is half as much again in any case.
        """
        freed_bytes = freed_files = 0
        before, enough = self.removed, max(ROOMY_SHARE, 1.5 * free_share())
        for _, build in self._unused():
            if self.removed > before and free_share(freed_bytes, freed_files) >= enough:
                break
            found_bytes, found_files = self._remove_build(build)
            freed_bytes, freed_files = freed_bytes + found_bytes, freed_files + found_files
        if self.removed == before:
            return False
        self._let_go_of_downloads(wait=wait)
        return True

    def remove_caches(self) -> bool:
        """Remove all that was downloaded, once, when nobody installs from it; builds keep what they have of it."""
        if not self._has_caches or not is_sound():
            return False
        self._has_caches = False
        with held(CACHE_LOCK):
            away = [move_away(PACKAGES / name) for name in CACHES if (PACKAGES / name).is_dir()]
        for each in away:
            shutil.rmtree(each, ignore_errors=True)
        return bool(away)

    def _builds(self) -> list[Path]:
        return folders_in(PACKAGES / "builds") if is_sound() else []

    def _unused(self) -> list[tuple[float, Path]]:
        """Builds that nothing has used since shortly before the platform looked, the longest unused first."""
        found = []
        for build in self._builds():
            with held_if_free(build.name) as lock:
                if lock is not None and self._may_go(build.name, lock):
                    found.append((os.fstat(lock).st_mtime, build))
        return sorted(found)

    def _may_go(self, key: str, lock: int) -> bool:
        looked_at = self._needed.looked_at
        if looked_at is None or key == self._key:
            return False
        return max(os.fstat(lock).st_mtime, self._needed.used_at(key)) < looked_at - CLOCKS_SECONDS

    def _remove_build(self, build: Path) -> tuple[int, int]:
        """Remove one; returns bytes and files that are free when the download cache has let go of them too."""
        freed = kept_by_cache(build)
        with held_if_free(build.name) as lock:
            # Since it was looked at, a pod may have come that found it there.
            if lock is None or not self._may_go(build.name, lock):
                return 0, 0
            away = move_away(build)
        shutil.rmtree(away, ignore_errors=True)
        self.removed += 1
        return freed

    def _let_go_of_downloads(self, *, wait: bool) -> None:
        """Remove what the cache holds and no build has: a file takes its room until its last name is gone.

        What was downloaded since this began is kept for the next try.
        """
        try:
            with held(CACHE_LOCK, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
                for cache in CACHES:
                    archives = [each for each in folders_in(PACKAGES / cache) if each.name.startswith("archive-")]
                    found = [each for folder in archives for each in folders_in(folder)]
                    unused = [each for each in found if each.lstat().st_mtime < self._began_at and not is_linked(each)]
                    forget_downloads(PACKAGES / cache, [each.name.encode() for each in unused])
                    for archive in unused:
                        shutil.rmtree(archive, ignore_errors=True)
        except BlockingIOError:
            return


def forget_downloads(cache: Path, archives: list[bytes]) -> None:
    """Remove what leads uv to these downloads. It fetches a file again that it has no note of, but not always else."""
    for notes in folders_in(cache) if archives else ():
        if not notes.name.startswith(("wheels-", "sdists-")):
            continue
        for place, folders, names in os.walk(notes):
            for path in (Path(place, name) for name in (*folders, *names)):
                if path.is_symlink():
                    note = os.fsencode(os.readlink(path))
                elif path.is_file() and path.stat().st_size <= NOTE_BYTES:
                    note = path.read_bytes()
                else:
                    continue
                if any(archive in note for archive in archives):
                    path.unlink()


def files_of(folder: Path) -> Iterator[os.stat_result]:
    """Each file below a folder; links are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield os.lstat(os.path.join(place, name))


def kept_by_cache(build: Path) -> tuple[int, int]:
    """Bytes and number of the files that have one name here and one elsewhere, which is in the download cache."""
    found = [each.st_blocks * 512 for each in files_of(build) if each.st_nlink == 2]
    return sum(found), len(found)


def is_linked(archive: Path) -> bool:
    """Whether a build has files of this download."""
    return any(each.st_nlink > 1 for each in files_of(archive))


def move_away(folder: Path) -> Path:
    """Take a folder out of use at once; returns where it is now. What is left of it there goes within a day."""
    away = PACKAGES / "half" / f"removed-{secrets.token_hex(8)}"
    folder.rename(away)
    return away
