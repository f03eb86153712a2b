"""Installs one lock into the volume of packages; runs in a pod, before the application.

It is sent to the pod and run by the image's own Python, so it imports nothing but the standard
library and ``emptying``, which is sent with it. Every build is made in a folder of its own and renamed when it is
whole, under a lock that its process alone holds: a pod that is killed here leaves nothing
that looks finished, and two at once build once. It must never run what it installed.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cmbcluster.runtime.kubernetes.emptying import (
    CACHE_LOCK,
    CACHES,
    EVERYTHING,
    FOLDERS,
    LOW_SHARE,
    PACKAGES,
    Needed,
    Room,
    free_share,
    held,
    is_sound,
)

FROM = Path(os.environ.get("CMB_FROM", "/cmb"))
WORKSPACE = Path(os.environ.get("CMB_WORKSPACE", "/workspace"))
TELL = Path(os.environ.get("CMB_TELL", "/dev/termination-log"))
MEASURE_SECONDS = 1.0
FORGOTTEN_SECONDS = 86400
# With less left it is not certain that every file was written whole.
LEAST_FREE_BYTES = 1024**2
FULL = (errno.ENOSPC, errno.EDQUOT)
SAYS_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded|os error 122\b", re.IGNORECASE)
OTHER_PYTHON = 71
NO_UV = 72
NOT_INSTALLED = 73
NO_SPACE = 74


def main() -> int:
    """Make sure of the build; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    key, wanted = os.environ["CMB_BUILD"], os.environ["CMB_PYTHON"]
    has = f"{sys.version_info.major}.{sys.version_info.minor}"
    if has != wanted:
        tell({"has": has})
        print(f"This image has Python {has}; the packages are locked for {wanted}.", flush=True)  # noqa: T201
        return OTHER_PYTHON
    began = time.monotonic()
    try:
        code, was_there, removed = make_sure(key, Needed(os.environ.get("CMB_NEEDED", EVERYTHING)))
    except OSError as wrong:
        if wrong.errno not in FULL:
            raise
        say_full(str(wrong))
        code, was_there, removed = NO_SPACE, False, 0
    seconds = round(time.monotonic() - began, 3)
    tell({"cached": was_there, "seconds": seconds, "workspace_bytes": measure(WORKSPACE), "removed": removed})
    return code


def make_sure(key: str, needed: Needed) -> tuple[int, bool, int]:
    """Make sure of the build; returns the exit code, whether it was there, and how many others were removed for it."""
    target, room = PACKAGES / "builds" / key, Room(key, needed)
    code, was_there = 0, True
    for folder in FOLDERS:
        (PACKAGES / folder).mkdir(parents=True, exist_ok=True)
    if not usable(target):
        room.note_use()
        if free_share() < LOW_SHARE:
            # A lock takes room as well.
            room.remove_some(wait=False)
    with held(key) as lock:
        if not usable(target):
            was_there = False
            code = build(target, room)
        if not code:
            # Whoever makes room sees that it is in use, also one that the platform told nothing of this pod.
            os.utime(lock)
    return code, was_there, room.removed


def usable(target: Path) -> bool:
    """Whether the build is there, and the Python it was made with too."""
    return os.access(target / "bin" / "python", os.X_OK)


def build(target: Path, room: Room) -> int:
    """Install, and make room for it as often as that helps; returns the exit code."""
    uv = shutil.which("uv")
    if uv is None:
        print("There is no uv in this image.", flush=True)  # noqa: T201
        return NO_UV
    clear_forgotten()
    while True:
        try:
            return build_once(uv, target)
        except OSError as wrong:
            if wrong.errno not in FULL:
                raise
            said = str(wrong)
        if not (room.remove_some() or room.remove_caches()):
            say_full(said)
            return NO_SPACE
        print("The volume of packages was full. Room was made, and it is tried again.", flush=True)  # noqa: T201


def say_full(said: str) -> None:
    """Tell whoever reads the log; the exit code says it to the platform."""
    print(said, "The volume of packages is full, and all that is in it is needed.", sep="\n", flush=True)  # noqa: T201


def build_once(uv: str, target: Path) -> int:
    """Install beside the target and put it in its place; returns the exit code, raises OSError for want of space."""
    half = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=PACKAGES / "half"))
    try:
        with held(CACHE_LOCK, fcntl.LOCK_SH):
            code = install(uv, half)
        if code:
            return code
        if target.exists():
            # Its Python went away with an older image.
            target.rename(half / "replaced")
        os.sync()
        (half / "made").rename(target)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return 0


def install(uv: str, half: Path) -> int:
    """Make an environment of the lock in ``half/made``; returns the exit code, raises OSError for want of space."""
    made, lock = half / "made", half / "lock.txt"
    from_source = os.environ.get("CMB_FROM_SOURCE") == "1"
    lock.write_bytes(gzip.decompress((FROM / "lock.txt.gz").read_bytes()))
    cache = PACKAGES / CACHES[from_source]
    variables = {**os.environ, "UV_CACHE_DIR": str(cache), "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}
    commands = [[uv, "venv", "--quiet", "--relocatable", "--python", os.path.realpath(sys.executable), str(made)]]
    if lock.stat().st_size:
        commands.append(
            [
                uv, "pip", "install", "--no-progress", "--python", str(made / "bin" / "python"),
                "--require-hashes", "--no-deps", *([] if from_source else ["--only-binary", ":all:"]), "-r", str(lock),
            ]
        )  # fmt: skip
    for command in commands:
        if run(command, variables, half):
            return NOT_INSTALLED
    if os.path.realpath(made / "bin" / "python") != os.path.realpath(sys.executable):
        print("A package changed the environment it was installed into, so it was not kept.", flush=True)  # noqa: T201
        return NOT_INSTALLED
    shutil.rmtree(made / "bundled", ignore_errors=True)
    if (FROM / "bundled.zip").exists():
        shutil.unpack_archive(FROM / "bundled.zip", made / "bundled", "zip")
    compile_all(made)
    if os.statvfs(PACKAGES).f_bavail * os.statvfs(PACKAGES).f_frsize < LEAST_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return 0


def run(command: list[str], variables: dict[str, str], place: Path) -> int:
    """Run a tool and pass on what it says. Raises OSError when it failed for want of space.

    Such words are not passed on: the platform reads the log of an installation that failed, and this one may go on.
    """
    said_full = ""
    with subprocess.Popen(  # noqa: S603
        command, env=variables, cwd=place, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as running:
        try:
            for line in running.stderr or ():
                if SAYS_FULL.search(line):
                    said_full = line.strip()
                else:
                    print(line, end="", file=sys.stderr, flush=True)  # noqa: T201
        except BaseException:
            running.kill()
            raise
    if running.returncode and said_full:
        raise OSError(errno.ENOSPC, said_full)
    return running.returncode


def compile_all(made: Path) -> None:
    """Write bytecode once, since the volume is read-only where programs run. By the image's Python, not by theirs."""
    subprocess.run(  # noqa: S603
        [
            sys.executable, "-I", "-S", "-m", "compileall", "-q", "-q", "-j", "0",
            "--invalidation-mode", "unchecked-hash", str(made / "lib"),
        ],
        check=False,
    )  # fmt: skip


def clear_forgotten() -> None:
    """Remove what killed builds left a day ago."""
    for folder in (PACKAGES / "half").iterdir() if is_sound() else ():
        try:
            if time.time() - folder.stat().st_mtime > FORGOTTEN_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def measure(folder: Path) -> int | None:
    """Bytes below a folder; None when counting them takes long."""
    give_up_at = time.monotonic() + MEASURE_SECONDS
    size_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size_bytes += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
        if time.monotonic() > give_up_at:
            return None
    return size_bytes


def tell(what: dict[str, object]) -> None:
    """Leave a word for the platform in the pod's status."""
    try:
        TELL.write_text(json.dumps(what), encoding="ascii")
    except OSError:
        print(json.dumps(what), flush=True)  # noqa: T201
