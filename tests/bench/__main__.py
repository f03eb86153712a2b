"""All benchmarks one after the other, each in a process of its own: ``python -m tests.bench [NAME…]``."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

from tests.bench.report import PAGE, ROOT

PROGRAMS = {
    "launch": (),
    "edge": ("wrk", "npm"),
    "idle": (),
    "web": ("chromium",),
    "identity": (),
    "api": ("wrk",),
    "database": (),
    "cluster": ("kubectl",),
    "warm": ("kubectl",),
    "replicas": ("redis-server", "npm"),
    "scale": ("kubectl", "kwok", "redis-server"),
}
MOST_SECONDS = 240
# Two thousand of something take their time to come and to go.
LONGER_SECONDS = {"scale": 1800}


def run(name: str) -> bool:
    """Run one program; says whether it wrote its section."""
    missing = [tool for tool in PROGRAMS[name] if shutil.which(tool) is None]
    if missing:
        print(f"{name}: needs {' and '.join(missing)}, left as it was", file=sys.stderr)
        return False
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", f"tests.bench.{name}"], cwd=ROOT)
    try:
        done = process.wait(LONGER_SECONDS.get(name, MOST_SECONDS)) == 0
    except subprocess.TimeoutExpired:
        # As Ctrl-C does, so that it ends what it started and removes its folder.
        process.send_signal(signal.SIGINT)
        process.wait()
        done = False
    print(f"{name}: {'measured' if done else 'failed'} in {time.monotonic() - began:.0f} s\n", file=sys.stderr)
    return done


def main() -> int:
    """Run those named, or all."""
    names = sys.argv[1:] or list(PROGRAMS)
    if unknown := [name for name in names if name not in PROGRAMS]:
        print(f"There is no {unknown[0]}. Choose of: {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    results = [run(name) for name in names]
    print(f"Written to {PAGE.relative_to(ROOT)}.", file=sys.stderr)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
