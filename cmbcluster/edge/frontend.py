"""The pages as built by Reflex: built when their sources changed, kept per address, served as files.

A build goes into a folder named after what it was made from and appears there at once or
not at all. What is served later must never depend on the folder in which it was built.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gzip
import hashlib
import os
import re
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cmbcluster.errors import StartRefused

BUILT_FOR = "http://localhost:8200"  # The api_url in rxconfig.py.
BUN_VERSION = "1.4.5"
_SOURCES = ("rxconfig.py", "cmbcluster/cmbcluster.py", "cmbcluster/web", "cmbcluster/domain", "assets", "reflex.lock")
_NOT_SOURCES = frozenset({"__pycache__", "external"})
_NEEDED = ("build/client", "backend", "routes.json")
_MARKER = "cmbcluster-sources"
_GZIP_LEVEL = 6
_LAST_LINES = 25
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
# How a line of the build begins, and what is said of it.
_PROGRESS = (
    (re.compile(r"(?i)\W*(info: )?initializ"), "preparing the folder"),
    (re.compile(r"(?i)\W*(info: )?install"), "fetching packages"),
    (re.compile(r"(?i)compiling:"), "compiled"),
    (re.compile(r"(?i)creating production build"), "bundled"),
)


@dataclass(frozen=True)
class Frontend:
    """A built frontend. ``root`` is what Reflex calls its web folder."""

    root: Path

    @property
    def client(self) -> Path:
        """The files a browser loads."""
        return self.root / "build" / "client"

    @property
    def font(self) -> str:
        """Path below ``client`` of the text face, or nothing when the build has none."""
        found = sorted(self.client.glob("assets/inter-latin-opsz-normal-*.woff2"))
        return f"/{found[0].relative_to(self.client).as_posix()}" if found else ""

    def environment(self, redis_url: str = "") -> dict[str, str]:
        """What Reflex must find in the environment to serve this build without building again.

        ``redis_url``: where the states of pages are, for a tab that comes back to another replica.
        """
        return {
            "REFLEX_ENV_MODE": "prod",
            "REFLEX_WEB_WORKDIR": str(self.root),
            "REFLEX_STATE_MANAGER_MODE": "redis" if redis_url else "memory",
            "REFLEX_REDIS_URL": redis_url,
            "REFLEX_TELEMETRY_ENABLED": "false",
            "REFLEX_CHECK_LATEST_VERSION": "false",
            "__REFLEX_SKIP_COMPILE": "true",
            "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
        }


def project_root() -> Path:
    """Where rxconfig.py lies; the pages are built there."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "rxconfig.py").exists():
        raise StartRefused(
            "The sources of the pages are not beside this installation. "
            "Run CMBCluster from its repository, with `make run`."
        )
    return root


def _source_files(root: Path) -> Iterator[Path]:
    for name in _SOURCES:
        place = root / name
        if place.is_file():
            yield place
        elif place.is_dir():
            files = (path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
            yield from sorted(path for path in files if not _NOT_SOURCES.intersection(path.parts))


def sources_key(root: Path) -> str:
    """A name for the present sources: equal sources have equal names."""
    digest = hashlib.sha256(f"reflex {version('reflex')} {sys.version_info[:2]}\n".encode())
    for path in _source_files(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def find_bun(root: Path) -> Path:
    """The bun that Reflex shall use."""
    places = (
        root / ".tools" / "node_modules" / ".bin" / "bun",
        Path.home() / ".local" / "share" / "reflex" / "bun" / "bin" / "bun",
    )
    for place in places:
        if os.access(place, os.X_OK):
            return place
    if found := shutil.which("bun"):
        return Path(found)
    raise StartRefused(
        "bun, which builds the pages, is not on this machine. "
        f"Get it with: npm install --prefix {root / '.tools'} bun@{BUN_VERSION}"
    )


async def ready_frontend(data_dir: Path, public_url: str, say: Callable[[str], None]) -> Frontend:
    """The frontend for the present sources and address, built first when there is none."""
    root = project_root()
    sources = await asyncio.to_thread(sources_key, root)
    wanted = _place_of(data_dir, sources, public_url)
    if not wanted.exists():
        sources = await _build(root, sources, say)
        wanted = _place_of(data_dir, sources, public_url)
    if not wanted.exists():
        await asyncio.to_thread(_keep, root / ".web", wanted, public_url)
    await asyncio.to_thread(_remove_others, wanted)
    return Frontend(wanted)


async def finished_frontend(data_dir: Path, public_url: str) -> Frontend:
    """The frontend that was built with this installation, pointed at ``public_url``; nothing is built now."""
    root = project_root()
    sources = await asyncio.to_thread(sources_key, root)
    wanted = _place_of(data_dir, sources, public_url)
    if not wanted.exists():
        if not _is_built(root, sources):
            raise StartRefused(
                "The pages of this installation are not built, or from other sources. "
                "Build them with: cmbcluster build-pages"
            )
        await asyncio.to_thread(_keep, root / ".web", wanted, public_url)
    return Frontend(wanted)


async def build_frontend(say: Callable[[str], None]) -> None:
    """Build the pages where ``finished_frontend`` looks for them, unless they are there."""
    root = project_root()
    await _build(root, await asyncio.to_thread(sources_key, root), say)


def _place_of(data_dir: Path, sources: str, public_url: str) -> Path:
    address = hashlib.sha256(public_url.encode()).hexdigest()[:8]
    return data_dir / "frontend" / f"{sources}-{address}"


def _is_built(root: Path, sources: str) -> bool:
    marker = root / ".web" / _MARKER
    built = all((root / ".web" / name).exists() for name in _NEEDED)
    return built and marker.exists() and marker.read_text(encoding="utf-8") == sources


async def _build(root: Path, sources: str, say: Callable[[str], None]) -> str:
    """Build in the project's own folder, one build at a time on this machine.

    Returns the name of the sources afterwards: a build may bring the lock of its packages
    up to date, which is one of them.
    """
    bun = find_bun(root)
    with (root / "rxconfig.py").open("rb") as guard:
        await asyncio.to_thread(fcntl.flock, guard, fcntl.LOCK_EX)
        if _is_built(root, sources):
            return sources
        marker = root / ".web" / _MARKER
        marker.unlink(missing_ok=True)
        say("Building the pages. This happens once, and again when their sources change.")
        await _export(root, bun, say)
        sources = await asyncio.to_thread(sources_key, root)
        marker.write_text(sources, encoding="utf-8")
        return sources


def _build_environment(bun: Path) -> dict[str, str]:
    surroundings = dict(os.environ)
    surroundings["PATH"] = os.pathsep.join(
        (str(bun.parent), str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    )
    surroundings |= {
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    surroundings.pop("REFLEX_WEB_WORKDIR", None)
    return surroundings


async def _export(root: Path, bun: Path, say: Callable[[str], None]) -> None:
    surroundings = _build_environment(bun)
    if "NPM_CONFIG_REGISTRY" not in surroundings and (registry := await _npm_registry()):
        # Reflex would otherwise try several of its own and take the fastest.
        surroundings["NPM_CONFIG_REGISTRY"] = registry
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "reflex",
        "export",
        "--frontend-only",
        "--no-zip",
        cwd=root,
        env=surroundings,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        limit=1024 * 1024,
    )
    last: deque[str] = deque(maxlen=_LAST_LINES)
    said: set[str] = set()
    try:
        if process.stdout is not None:
            async for raw in process.stdout:
                line = _ANSI.sub("", raw.decode("utf-8", "replace")).strip()
                if line:
                    last.append(line)
                for begins, words in _PROGRESS:
                    if begins.match(line) and words not in said:
                        said.add(words)
                        say(f"  {words}")
        status = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        raise StartRefused("The pages could not be built. The last lines of the build were:\n" + "\n".join(last))


async def _npm_registry() -> str:
    """The registry this machine's npm is set to, or nothing."""
    npm = shutil.which("npm")
    if npm is None:
        return ""
    process = await asyncio.create_subprocess_exec(
        npm, "config", "get", "registry", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    address = out.decode("utf-8", "replace").strip()
    return address if process.returncode == 0 and address.startswith(("http://", "https://")) else ""


def _keep(built: Path, wanted: Path, public_url: str) -> None:
    """Copy what serving needs, pointed at our address, in one step for everybody who looks."""
    missing = [name for name in _NEEDED if not (built / name).exists()]
    if missing:
        raise StartRefused(f"The build of the pages made no {missing[0]}. Run `make clean` and start again.")
    new = wanted.with_name(f".new-{wanted.name}-{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    for name in _NEEDED:
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (built / name).is_dir():
            shutil.copytree(built / name, target)
        else:
            shutil.copy2(built / name, target)
    retarget(new / "build" / "client", public_url)
    try:
        new.rename(wanted)
    except OSError:
        if not wanted.exists():
            raise
        # Another role of this machine was quicker.
        shutil.rmtree(new)


def retarget(client: Path, public_url: str) -> int:
    """Point a build at another address; returns how many files changed."""
    if public_url == BUILT_FOR:
        return 0
    old, new = BUILT_FOR.encode(), public_url.encode()
    pairs = ((old, new), (old.replace(b"http", b"ws", 1), new.replace(b"http", b"ws", 1)))
    changed = 0
    for path in (*client.rglob("*.js"), *client.rglob("*.html")):
        before = after = path.read_bytes()
        for was, becomes in pairs:
            after = after.replace(was, becomes)
        if after == before:
            continue
        path.write_bytes(after)
        changed += 1
        packed = path.with_name(path.name + ".gz")
        if packed.exists():
            packed.write_bytes(gzip.compress(after, _GZIP_LEVEL))
    return changed


def _remove_others(wanted: Path) -> None:
    """Remove builds that nothing serves any more; the lock of ``up`` makes us the only one here."""
    for folder in wanted.parent.iterdir():
        if folder != wanted:
            shutil.rmtree(folder, ignore_errors=True)
