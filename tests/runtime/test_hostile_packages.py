"""Packages that attack: what their build scripts and start-up files can see, reach and leave behind."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import socketserver
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.packages.room import Room
from cmbcluster.packages.tool import UvTool
from cmbcluster.packages.uv import UvResolver
from cmbcluster.runtime.local.builds import Builds
from cmbcluster.runtime.local.finishing import Build
from tests.runtime.place import PYTHON, settings_for
from tests.runtime.test_builds import make_builds, wheel

FROM_SOURCE = PythonSource((), PYTHON, from_source=True)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to another account")
# A build backend that does as ``attack`` says and puts what it found into the module it builds.
BACKEND = """
import json, os, zipfile
def attack():
{attack}
def build_wheel(folder, config_settings=None, metadata_directory=None):
    found = attack()
    name = "{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("{name}.py", "FOUND = " + repr(json.dumps(found)))
        wheel.writestr("{name}-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr("{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr("{name}-1.0.dist-info/RECORD", "")
    return name
"""
LOOKS_AROUND = """
import socket, subprocess, sys
found = {}
def sees(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path).read()
    except OSError as wrong:
        return type(wrong).__name__
found["workspace"] = sees(WORKSPACE)
found["builds"] = sees(BUILDS)
found["caches"] = sees(CACHE)
try:
    socket.create_connection(("127.0.0.1", PORT), timeout=2).close()
    found["loopback"] = "open"
except OSError as wrong:
    found["loopback"] = type(wrong).__name__
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        os.execv("/bin/sleep", ["sleep", SLEEPS])
    os._exit(0)
return found
"""
PLANTS_LINKS = """
for folder in __import__("glob").glob(BUILDS + "/.building-*/**/environment", recursive=True):
    os.symlink(TARGET, folder + "/bundled")
    os.symlink(TARGET + "/precious", folder + "/build.json")
    os.symlink(TARGET + "/precious", folder + "/last-used")
for lock in __import__("glob").glob(BUILDS + "/.building-*/lock.txt"):
    try:
        os.unlink(lock)
    except OSError:
        pass
return {}
"""
DROPS = """
try:
    open(DROP + "/ran", "w").close()
except OSError:
    pass
return {}
"""
CHANGES_PYTHON = """
for python in __import__("glob").glob(BUILDS + "/.building-*/**/environment/bin/python", recursive=True):
    os.unlink(python)
    os.symlink(TARGET + "/bin/python", python)
return {}
"""


def sdist(folder: Path, name: str, attack: str, **words: object) -> Lock:
    """A source distribution without a wheel, and the lock that asks for it."""
    given = [f"{word} = {value!r}" for word, value in words.items()]
    body = "\n".join("    " + line for line in [*given, *attack.strip().splitlines()])
    entries = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(attack=body, name=name),
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for path, text in entries.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    folder.chmod(0o755)
    file.chmod(0o644)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Lock(f"{name}==1.0 --hash=sha256:{digest}\n", PYTHON, 1)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, data: Path) -> Iterator[Path]:
    """A folder of packages that is the only index uv knows in the test."""
    folder = data.parent / "shelf"
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def builds(data: Path, shelf: Path) -> AsyncIterator[Builds]:
    shutil.rmtree(data / "builds", ignore_errors=True)
    made = make_builds(data)
    yield made
    await made.end_compiling()
    shutil.rmtree(data / "builds", ignore_errors=True)


async def built(builds: Builds, lock: Lock, source: PythonSource = FROM_SOURCE) -> Build:
    try:
        async with builds.ready(source, lock, lambda marks: None) as build:
            return build
    except PackagesFailed as failed:
        failed.add_note(failed.log_tail)
        raise


def found_by(build: Build, name: str) -> dict[str, object]:
    """What a build script found, as it wrote it into its module."""
    names: dict[str, str] = {}
    [module] = build.folder.glob(f"lib/python3*/site-packages/{name}.py")
    exec(module.read_text(), names)  # noqa: S102 — written by this test's own backend
    return dict(json.loads(names["FOUND"]))


@pytest.fixture
def service() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.sandbox
async def test_a_build_script_sees_and_reaches_nothing_of_ours(
    builds: Builds, data: Path, shelf: Path, service: int
) -> None:
    workspace = data / "environments" / "neighbour" / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "private.txt").write_text("theirs")
    os.chmod(workspace.parent, 0o755)
    other = await built(builds, Lock("", PYTHON, 0), PythonSource((), PYTHON))
    sleeps = f"4242.{os.getpid()}"
    lock = sdist(
        shelf, "cmblooks", LOOKS_AROUND,
        WORKSPACE=str(workspace), BUILDS=str(data / "builds"), CACHE=str(data / "uv-cache"),
        PORT=service, SLEEPS=sleeps,
    )  # fmt: skip
    found = found_by(await built(builds, lock), "cmblooks")
    shutil.rmtree(data / "environments" / "neighbour")
    assert found["workspace"] == "FileNotFoundError"
    assert found["caches"] == "FileNotFoundError", "its cache is not that of packages that run nothing"
    assert found["loopback"] != "open"
    assert other.name not in found["builds"]  # type: ignore[operator]
    assert [p.pid for p in psutil.process_iter(["cmdline"]) if sleeps in (p.info["cmdline"] or ())] == []


@pytest.mark.sandbox
@AS_ROOT
async def test_a_finished_build_is_ours(builds: Builds, shelf: Path) -> None:
    build = await built(builds, sdist(shelf, "cmbplain", "return {}"))
    await builds.end_compiling()
    for place, folders, names in os.walk(build.folder):
        for name in (".", *folders, *names):
            seen = os.lstat(os.path.join(place, name))
            assert (seen.st_uid, seen.st_gid) == (0, 0), name
            assert os.path.islink(os.path.join(place, name)) or not seen.st_mode & 0o022, name


@pytest.mark.sandbox
async def test_links_left_by_a_package_are_not_written_through(builds: Builds, data: Path, shelf: Path) -> None:
    target = data.parent / "target"
    target.mkdir()
    (target / "precious").write_text("ours")
    lock = sdist(shelf, "cmbplants", PLANTS_LINKS, BUILDS=str(data / "builds"), TARGET=str(target))
    source = PythonSource((), PYTHON, bundled="cmb_explorer", from_source=True)
    build = await built(builds, lock, source)
    assert (target / "precious").read_text() == "ours"
    assert [path.name for path in target.iterdir()] == ["precious"]
    assert (build.folder / "bundled" / "app.py").is_file()
    assert not (build.folder / "bundled").is_symlink()
    shutil.rmtree(target)


@pytest.mark.sandbox
async def test_a_package_cannot_choose_the_python_that_environments_are_shown(
    builds: Builds, data: Path, shelf: Path
) -> None:
    target = data.parent / "not-a-python"
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").touch()
    lock = sdist(shelf, "cmbchanges", CHANGES_PYTHON, BUILDS=str(data / "builds"), TARGET=str(target))
    with pytest.raises(PackagesFailed, match="changed the environment"):
        await built(builds, lock)
    assert builds.views(set()) == ()
    shutil.rmtree(target)


async def test_one_s_own_application_uses_ready_made_files_alone(builds: Builds, data: Path, shelf: Path) -> None:
    marker = data.parent / "drop"
    marker.mkdir()
    marker.chmod(0o777)
    lock = sdist(shelf, "cmbsource", DROPS, DROP=str(marker))
    said = f"cmbsource has no ready-made file for Python {PYTHON}; only packages with wheels can be used."
    with pytest.raises(PackagesFailed) as refused:
        await UvResolver(settings_for(data)).resolve(PythonSource(("cmbsource",), PYTHON))
    assert refused.value.what == said
    with pytest.raises(
        PackagesFailed, match="cmbsource has no ready-made file for this kind of machine; only packages"
    ):
        await built(builds, lock, PythonSource((), PYTHON))
    allowed = await UvResolver(settings_for(data)).resolve(PythonSource(("cmbsource",), PYTHON, from_source=True))
    assert allowed.packages == 1
    assert list(marker.iterdir()) == []
    shutil.rmtree(marker)


async def test_compiling_runs_no_start_up_file_of_a_package(
    builds: Builds, data: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .pth file is run by every Python that imports the site module; here none may, with or without a room."""
    monkeypatch.setattr(UvTool, "find_room", lambda self: Room())
    marker = data.parent / "dropped"
    marker.mkdir()
    marker.chmod(0o777)
    start_up = f"import os; open({str(marker / 'ran')!r}, 'w').close()\n".encode()
    lock = wheel(shelf, "cmbstartup", "x = 1", more={"cmbstartup.pth": start_up})
    build = await built(builds, lock, PythonSource((), PYTHON))
    async with asyncio.timeout(20):
        while not (build.folder / "compiled").exists():
            await asyncio.sleep(0.02)
    assert list(marker.iterdir()) == []
    assert list(build.folder.glob("lib/*/site-packages/__pycache__/cmbstartup*.pyc"))
    shutil.rmtree(marker)


@AS_ROOT
async def test_the_account_s_folders_hold_nothing_we_write(builds: Builds, data: Path, shelf: Path) -> None:
    """What root writes lies in folders of root: a link planted beforehand is never followed."""
    for name in ("scratch", "tools", "room", "builds"):
        assert (data / name).stat().st_uid == 0
        assert not (data / name).stat().st_mode & 0o022
    folder = builds._tool.scratch()
    assert folder.stat().st_uid == 0
    shutil.rmtree(folder)
