"""Installs one lock into the volume of packages; runs in a pod, before the application.

It is sent to the pod as text and run by the image's own Python, so it imports nothing but
the standard library. Every build is made in a folder of its own and renamed when it is
whole, under a lock that its process alone holds: a pod that is killed here leaves nothing
that looks finished, and two at once build once. It must never run what it installed.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FROM = Path(os.environ.get("CMB_FROM", "/cmb"))
PACKAGES = Path(os.environ.get("CMB_PACKAGES", "/packages"))
WORKSPACE = Path(os.environ.get("CMB_WORKSPACE", "/workspace"))
TELL = Path(os.environ.get("CMB_TELL", "/dev/termination-log"))
MEASURE_SECONDS = 1.0
FORGOTTEN_SECONDS = 86400
OTHER_PYTHON = 71
NO_UV = 72
NOT_INSTALLED = 73


def main() -> int:
    """Make sure of the build; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    key, wanted = os.environ["CMB_BUILD"], os.environ["CMB_PYTHON"]
    has = f"{sys.version_info.major}.{sys.version_info.minor}"
    if has != wanted:
        tell({"has": has})
        print(f"This image has Python {has}; the packages are locked for {wanted}.", flush=True)  # noqa: T201
        return OTHER_PYTHON
    target = PACKAGES / "builds" / key
    began = time.monotonic()
    code, was_there = 0, True
    if not usable(target):
        for folder in ("builds", "half", "locks"):
            (PACKAGES / folder).mkdir(parents=True, exist_ok=True)
        with open(PACKAGES / "locks" / key, "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not usable(target):
                was_there = False
                code = build(target)
    tell({"cached": was_there, "seconds": round(time.monotonic() - began, 3), "workspace_bytes": measure(WORKSPACE)})
    return code


def usable(target: Path) -> bool:
    """Whether the build is there, and the Python it was made with too."""
    return os.access(target / "bin" / "python", os.X_OK)


def build(target: Path) -> int:
    """Install beside the target and put it in its place; returns the exit code."""
    uv = shutil.which("uv")
    if uv is None:
        print("There is no uv in this image.", flush=True)  # noqa: T201
        return NO_UV
    clear_forgotten()
    half = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=PACKAGES / "half"))
    try:
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
    """Make an environment of the lock in ``half/made``; returns the exit code."""
    made, lock = half / "made", half / "lock.txt"
    from_source = os.environ.get("CMB_FROM_SOURCE") == "1"
    lock.write_bytes(gzip.decompress((FROM / "lock.txt.gz").read_bytes()))
    # What build scripts may have touched is kept apart from what everybody links to.
    cache = PACKAGES / ("cache-from-source" if from_source else "cache")
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
        finished = subprocess.run(command, env=variables, check=False, cwd=half)  # noqa: S603
        if finished.returncode:
            return NOT_INSTALLED
    if os.path.realpath(made / "bin" / "python") != os.path.realpath(sys.executable):
        print("A package changed the environment it was installed into, so it was not kept.", flush=True)  # noqa: T201
        return NOT_INSTALLED
    shutil.rmtree(made / "bundled", ignore_errors=True)
    if (FROM / "bundled.zip").exists():
        shutil.unpack_archive(FROM / "bundled.zip", made / "bundled", "zip")
    compile_all(made)
    return 0


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
    for folder in (PACKAGES / "half").iterdir():
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


if __name__ == "__main__":
    sys.exit(main())
