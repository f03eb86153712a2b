"""Running uv: which binary, as whom, with which environment, and how it is ended.

uv may run build scripts of packages, so it gets a clean environment, never runs as root and
works in a closed room where this machine can make one. It must never outlive us: half-made
folders of a dead builder have to be safe to sweep away. Nothing is ever written here into a
folder that was given to the other account.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import uv

from cmbcluster.errors import StartRefused
from cmbcluster.packages import room
from cmbcluster.packages.account import Account, account_for_others, blocked_at, can_run, give
from cmbcluster.packages.own_network import resolver_text, routes_text
from cmbcluster.packages.pip_words import in_words_of_uv
from cmbcluster.packages.trees import remove_tree
from cmbcluster.settings import Settings

KEPT_LINES = 200
DRAIN_SECONDS = 5.0
SCRATCH = "scratch-"
SCRATCH_SECONDS = 24 * 3600
PROBED_AGAIN_SECONDS = 60.0
_LINE_LIMIT_BYTES = 1024**2
_PASSED_ON = frozenset(
    {
        "PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "NETRC", "CC", "CXX", "FC",
        "CFLAGS", "CXXFLAGS", "LDFLAGS", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy",
        "https_proxy", "all_proxy", "no_proxy",
    }
)  # fmt: skip
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
# Choices of uv that belong to somebody's own project, not to our builds.
_NOT_PASSED_ON = frozenset(
    {
        "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_CACHE_DIR", "UV_NO_CACHE",
        "UV_TARGET", "UV_PREFIX", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_EXCLUDE_NEWER",
        "UV_WORKING_DIRECTORY", "UV_VENV_SEED", "UV_CONFIG_FILE",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """How a call of uv ended. ``said`` are the last lines of its standard error."""

    code: int
    output: str
    said: str


class UvTool:
    """Starts uv for the resolver and for builds; one cache below the data folder for both."""

    def __init__(self, settings: Settings) -> None:
        self.data_dir = settings.data_dir.absolute()
        self.account: Account = account_for_others(settings.local_account)
        self.cache_dir = self.data_dir / "uv-cache"
        self.tools_dir = self.data_dir / "tools"
        # In a cluster the lock is of the index that the pods install from, since there may be a way to no other.
        # Whoever tells uv of another one, as for an index without dates, is believed.
        self._index_url = settings.package_index_url if settings.runtime == "kubernetes" else ""
        self._room = room.Room()
        self._probed_at = -PROBED_AGAIN_SECONDS
        self._probing = threading.Lock()

    def prepare(self) -> None:
        """Make the folders uv works in, and refuse with a text when the account cannot reach them."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        blocked = blocked_at(self.account, self.data_dir)
        if blocked is not None:
            raise StartRefused(
                f"Environments run as the account “{self.account.name}”, which cannot pass through {blocked}. "
                f"Set CMB_DATA_DIR to a folder outside of it (for example /var/lib/cmbcluster), "
                f"or allow passing with: chmod o+x {blocked}"
            )
        for folder in (self.tools_dir, self._scratch_dir, self._room_dir):
            folder.mkdir(mode=0o755, exist_ok=True)
        for folder in (self.cache_dir, self._source_cache_dir, self.home_dir):
            folder.mkdir(mode=0o755, exist_ok=True)
            if not folder.is_symlink():
                give(self.account, folder)
        for left in self._scratch_dir.glob(f"{SCRATCH}*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > SCRATCH_SECONDS:
                    remove_tree(left)
        self.find_room()

    def find_room(self) -> room.Room:
        """The room of this machine; looked at again after a while, since the network comes and goes. Blocking."""
        with self._probing:
            if time.monotonic() - self._probed_at >= PROBED_AGAIN_SECONDS:
                self._room = room.probe_room(self.account)
                for name, text in (("resolv.conf", resolver_text(own_network=True)), ("routes", routes_text())):
                    # Of its own name: another tool of this process may write the same file now.
                    descriptor, half = tempfile.mkstemp(prefix=name, dir=self._room_dir)
                    with open(descriptor, "w", encoding="utf-8") as file:
                        file.write(text)
                    os.chmod(half, 0o644)
                    os.replace(half, self._room_dir / name)
                self._probed_at = time.monotonic()
            return self._room

    def scratch(self) -> Path:
        """A folder of ours that the account can read. Its maker removes it; what a dead one left is swept later."""
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self._scratch_dir))
        folder.chmod(0o755)
        return folder

    def cache_for(self, *, from_source: bool) -> Path:
        """The cache of a call. Build scripts could change theirs, so all others have another."""
        return self._source_cache_dir if from_source else self.cache_dir

    @property
    def home_dir(self) -> Path:
        """HOME of uv when it runs as another account (which may have none). Nothing of ours lies in it."""
        return self.data_dir / "uv-home"

    @property
    def _scratch_dir(self) -> Path:
        return self.data_dir / "scratch"

    @property
    def _room_dir(self) -> Path:
        return self.data_dir / "room"

    @property
    def _source_cache_dir(self) -> Path:
        return self.data_dir / "uv-cache-source"

    @cached_property
    def binary(self) -> str:
        """The uv binary, as a copy in the data folder where the account cannot reach ours."""
        found = Path(uv.find_uv_bin())
        if can_run(self.account, found):
            return str(found)
        seen = found.stat()
        copy = self.tools_dir / f"uv-{seen.st_size}-{int(seen.st_mtime)}"
        if not copy.exists():
            copy.parent.mkdir(mode=0o755, exist_ok=True)
            half = copy.with_name(f"{copy.name}.{os.getpid()}")
            shutil.copy2(found, half)
            half.chmod(0o755)
            half.rename(copy)
        return str(copy)

    @cached_property
    def environment(self) -> dict[str, str]:
        """What uv and the build scripts it runs may know of our environment."""
        home = Path.home()
        passed = {
            name: value
            for name, value in os.environ.items()
            if (name in _PASSED_ON or name.startswith("UV_")) and name not in _NOT_PASSED_ON
        }
        uv_was_told = not passed.keys().isdisjoint(_INDEXES)
        passed.update(in_words_of_uv(os.environ, home))
        if self._index_url and not uv_was_told:
            passed["UV_DEFAULT_INDEX"] = self._index_url
        config = Path(os.environ.get("UV_CONFIG_FILE") or self._config_home(home) / "uv" / "uv.toml")
        if self.account.changes:
            passed["HOME"] = str(self.home_dir)
            if config.is_file():
                passed["UV_CONFIG_FILE"] = str(self._readable_copy(config))
        else:
            passed["HOME"] = str(home)
            passed["XDG_CONFIG_HOME"] = str(self._config_home(home))
            if os.environ.get("UV_CONFIG_FILE"):
                passed["UV_CONFIG_FILE"] = str(config)
        if sys.platform == "linux":
            # A build shares no file with the cache, which outlives it and belongs to the account.
            passed["UV_LINK_MODE"] = "copy"
        return passed | {
            "UV_CACHE_DIR": str(self.cache_dir),
            "UV_NO_PROJECT": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "NO_COLOR": "1",
        }

    async def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        on_line: Callable[[str], None] | None = None,
        on_start: Callable[[int], None] | None = None,
        openings: room.Openings | None = None,
        program: str | None = None,
    ) -> Finished:
        """Run uv in ``folder`` and return when it ended; cancelling ends it and all it started.

        With ``openings`` it runs in a room, where this machine can make one; without, only
        what runs no code of packages may be called. ``program`` runs in place of uv, under
        the same account and with the same care.
        """
        words = await asyncio.to_thread(self._words, [program or self.binary, *arguments], folder, openings)
        cache = {"UV_CACHE_DIR": str(openings.cache)} if openings is not None and openings.cache is not None else {}
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=folder,
            env=self.environment | cache,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_LIMIT_BYTES,
        )
        if on_start is not None:
            on_start(process.pid)
        said: deque[str] = deque(maxlen=KEPT_LINES)
        reading = asyncio.gather(_read_all(process.stdout), _read_lines(process.stderr, said, on_line))
        try:
            output, _ = await asyncio.shield(reading)
            code = await process.wait()
        finally:
            # Build scripts can leave children behind; none of them may go on.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            if not reading.done():
                await asyncio.wait([reading], timeout=DRAIN_SECONDS)
                reading.cancel()
            if process.returncode is None:
                await asyncio.shield(process.wait())
        return Finished(code, output.decode(errors="replace"), "\n".join(said))

    def _words(self, command: list[str], folder: Path, openings: room.Openings | None) -> list[str]:
        """The whole command line: as the account, and in a room."""
        found = self.find_room() if openings is not None else room.Room()
        if openings is None or not found.bwrap:
            return [*self._as_account(closed=True), *command]
        own = [Path(self.binary), self.tools_dir / "uv.toml"]
        readable = (*openings.readable, *(path for path in own if path.exists()))
        openings = replace(openings, readable=readable)
        return [*self._as_account(closed=False), *room.around(found, self._place(), openings, folder, command)]

    def _place(self) -> room.Place:
        """What all rooms have in common, from the configuration the user has for uv and pip now."""
        environment = self.environment
        home = Path(environment["HOME"])
        told = [value for name, value in environment.items() if name.startswith(("UV_", "SSL_", "NETRC"))]
        config = Path(environment.get("UV_CONFIG_FILE") or self._config_home(home) / "uv" / "uv.toml")
        for file in (config, Path("/etc/uv/uv.toml")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                told.append(file.read_text(encoding="utf-8"))
        paths = list(room.named_paths(told, self.account))
        if not self.account.changes:
            own = (self._config_home(home) / "uv", home / ".netrc", home / ".local/share/uv/credentials")
            paths += [path for path in own if path.exists()]
        return room.Place(
            hidden=self.data_dir,
            home=home,
            files=self._room_dir,
            configured=tuple(path for path in paths if not path.is_relative_to(self.data_dir)),
            own_network=not room.asks_this_machine([*told, *room.proxies(environment)]),
        )

    def _as_account(self, *, closed: bool) -> list[str]:
        """A prefix that changes the account and ties uv's life to ours, where setpriv is there."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        if setpriv is None:
            if self.account.changes:
                raise StartRefused(
                    "Packages must not be built as root, and setpriv is missing. Install util-linux, "
                    "or run the platform as an ordinary user."
                )
            return []
        prefix = [setpriv, "--pdeathsig", "KILL"]
        if closed:
            # A room does it by itself, once it is closed: some need their own privileges for that.
            prefix.append("--no-new-privs")
        if self.account.changes:
            prefix += ["--reuid", str(self.account.uid), "--regid", str(self.account.gid), "--clear-groups"]
        return prefix

    def _readable_copy(self, config: Path) -> Path:
        """The user's uv.toml for the account alone: written in a folder of ours, then given away."""
        copy = self.tools_dir / "uv.toml"
        self.tools_dir.mkdir(parents=True, mode=0o755, exist_ok=True)
        descriptor, half = tempfile.mkstemp(prefix="uv.toml.", dir=self.tools_dir)
        with open(descriptor, "wb") as file:
            file.write(config.read_bytes())
        give(self.account, Path(half))
        os.replace(half, copy)
        return copy

    @staticmethod
    def _config_home(home: Path) -> Path:
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")


async def _read_all(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


async def _read_lines(
    stream: asyncio.StreamReader | None, said: deque[str], on_line: Callable[[str], None] | None
) -> None:
    while stream is not None and (raw := await stream.readline()):
        line = raw.decode(errors="replace").rstrip()
        said.append(line)
        if on_line is not None:
            on_line(line)
