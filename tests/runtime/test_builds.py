"""Builds: once for many, nothing half-done, found again, pruned when unused."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cmbcluster.domain.lifecycle import Stage, StopReason
from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.packages.tool import UvTool
from cmbcluster.packages.uv import UvResolver
from cmbcluster.runtime.local import builds as builds_module
from cmbcluster.runtime.local.builds import Builds
from cmbcluster.runtime.local.finishing import build_name
from cmbcluster.runtime.local.inventory import Inventory
from cmbcluster.runtime.local.process_tree import start_ticks
from cmbcluster.runtime.local.runtime import LocalRuntime
from cmbcluster.runtime.port import Sight
from tests.runtime.place import EMPTY_LOCK, PYTHON, make_spec, python, settings_for, stop_and_remove, until

SOURCE = PythonSource((), PYTHON)


def make_builds(data: Path) -> Builds:
    tool = UvTool(settings_for(data))
    tool.prepare()
    made = Builds(settings_for(data), tool)
    made.prepare()
    return made


@pytest.fixture
def fresh(data: Path) -> Iterator[Path]:
    """The shared folder with no builds in it."""
    shutil.rmtree(data / "builds", ignore_errors=True)
    yield data
    shutil.rmtree(data / "builds", ignore_errors=True)


@pytest.fixture
async def made(fresh: Path) -> AsyncIterator[Builds]:
    """Builds without a runtime around them."""
    builds = make_builds(fresh)
    yield builds
    await builds.end_compiling()


@pytest.fixture
async def runtime(fresh: Path) -> AsyncIterator[LocalRuntime]:
    opened = LocalRuntime(settings_for(fresh))
    await opened.open()
    yield opened
    await opened.close()


def wheel(folder: Path, name: str, body: str, *, filler_bytes: int = 0, more: dict[str, bytes] | None = None) -> Lock:
    """A tiny package in a folder of files, and the lock that asks for it. No index is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-1.0-py3-none-any.whl"
    entries = {
        f"{name}.py": body.encode(),
        f"{name}_filler.bin": os.urandom(filler_bytes),
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.0.dist-info/entry_points.txt": f"[console_scripts]\n{name}-hello = {name}:main\n".encode(),
    } | (more or {})
    rows = []
    with zipfile.ZipFile(file, "w") as archive:
        for path, content in entries.items():
            archive.writestr(path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(content)}")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "\n".join([*rows, f"{name}-1.0.dist-info/RECORD,,", ""]))
    folder.chmod(0o755)
    file.chmod(0o644)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Lock(f"{name}==1.0 --hash=sha256:{digest}\n", PYTHON, 1)


@pytest.fixture
def own_files(monkeypatch: pytest.MonkeyPatch, data: Path) -> Path:
    """A folder of wheels that is the only index uv knows in the test."""
    folder = data.parent / "wheels"
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return folder


async def test_twenty_launches_of_one_lock_build_once(
    runtime: LocalRuntime, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = UvTool.run

    async def counted(self: UvTool, arguments: list[str], **rest: object) -> object:
        calls.append(arguments[0])
        return await real(self, arguments, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(UvTool, "run", counted)
    specs = [make_spec(f"together-{number}", python("print('built')")) for number in range(20)]
    await asyncio.gather(*(runtime.start(spec) for spec in specs))
    for spec in specs:
        seen = await until(runtime, spec.ref, Sight.EXITED)
        assert seen.ending is not None
        assert seen.ending.exit_code == 0, seen.ending
    assert calls.count("venv") == 1
    assert len(Inventory(settings_for(fresh)).builds()) == 1
    await stop_and_remove(runtime, *specs)


async def test_a_package_and_its_console_script_work_at_the_final_place(
    runtime: LocalRuntime, fresh: Path, own_files: Path
) -> None:
    body = "import sys\ndef main(): print('hello from', sys.prefix)"
    lock = wheel(own_files, "cmbhello", body, filler_bytes=3 * 1024**2)
    spec = make_spec("script", ("cmbhello-hello",), lock=lock)
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.exit_code == 0, seen.ending
    assert "hello from /" in seen.ending.log_tail
    assert ".building-" not in seen.ending.log_tail
    marks = {mark.stage: mark for mark in seen.stages}
    assert marks[Stage.DOWNLOADING].unit == "bytes"
    assert marks[Stage.DOWNLOADING].total is None
    installing = marks[Stage.INSTALLING]
    assert (installing.done, installing.total, installing.unit, installing.failed) == (1, 1, "packages", False)
    [build] = Inventory(settings_for(fresh)).builds()
    assert (build.packages, build.in_use) == (1, False)
    assert build.size_bytes > 3 * 1024**2
    folder = runtime._opened.builds.folder / build.name
    async with asyncio.timeout(20):
        while not (folder / "compiled").exists():
            await asyncio.sleep(0.02)
    compiled = list(folder.glob("lib/*/site-packages/__pycache__/cmbhello*.pyc"))
    assert compiled, "modules are compiled once, not at each start"
    await stop_and_remove(runtime, spec)


async def test_a_file_that_is_not_the_locked_one_is_refused(
    runtime: LocalRuntime, fresh: Path, own_files: Path
) -> None:
    lock = wheel(own_files, "cmbtampered", "x = 1")
    wheel(own_files, "cmbtampered", "x = 2  # somebody changed it")
    spec = make_spec("tampered", lock=lock)
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.BUILD_FAILED
    assert seen.ending.what == "A file of cmbtampered is not the one that was locked, so it was not installed."
    assert any(mark.failed for mark in seen.stages)
    lines = [line.text async for line in runtime.logs(spec.ref, offset=0, follow=True)]
    assert any("Hash mismatch" in line for line in lines)
    assert Inventory(settings_for(fresh)).builds() == ()
    assert list(runtime._opened.builds.folder.glob(".building-*")) == []
    await stop_and_remove(runtime, spec)


async def test_a_full_disk_is_said_and_leaves_nothing(
    runtime: LocalRuntime, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(builds_module, "finish", full)
    spec = make_spec("full")
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.DISK_FULL
    assert seen.ending.what == "The disk of this machine is full."
    assert [path for path in (fresh / "builds").iterdir() if not path.name.endswith(".lock")] == []
    monkeypatch.undo()
    again = make_spec("full", python("print('room again')"), generation=2)
    await runtime.start(again)
    assert (await until(runtime, again.ref, Sight.EXITED)).ending.exit_code == 0  # type: ignore[union-attr]
    await stop_and_remove(runtime, again)


async def test_a_killed_builder_leaves_nothing_half_done(fresh: Path, own_files: Path) -> None:
    """Another process builds and is killed in the middle; the next platform sweeps and builds again."""
    lock = wheel(own_files, "cmbslow", "x = 1")
    code = f"""
import asyncio
from pathlib import Path
from tests.runtime.test_builds import make_builds, SOURCE
from cmbcluster.domain.sources import Lock
from cmbcluster.packages.tool import UvTool
real = UvTool.run
async def slow(self, arguments, **rest):
    if arguments[0] == "pip":
        print("half", flush=True)
        await asyncio.sleep(60)
    return await real(self, arguments, **rest)
UvTool.run = slow
async def main():
    async with make_builds(Path({str(fresh)!r})).ready(SOURCE, Lock(**{lock.__dict__!r}), lambda marks: None):
        pass
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert (await asyncio.to_thread(builder.stdout.readline)).strip() == "half"
        assert len(list((fresh / "builds").glob(".building-*"))) == 1
        make_builds(fresh)
        assert len(list((fresh / "builds").glob(".building-*"))) == 1, "a living builder's folder is left alone"
        builder.kill()
    made = make_builds(fresh)
    assert list((fresh / "builds").glob(".building-*")) == []
    assert made.views(set()) == ()
    async with made.ready(SOURCE, lock, lambda marks: None) as build:
        assert (build.folder / "bin" / "python").exists()
    await made.end_compiling()


async def test_the_last_one_who_gives_up_ends_the_build(
    made: Builds, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []
    fake_uv = fresh.parent / "slow-uv"
    fake_uv.write_text("#!/bin/sh\nsleep 60 &\nsleep 60\n")
    fake_uv.chmod(0o755)
    await made._interpreters.found()
    monkeypatch.setitem(made._tool.__dict__, "binary", str(fake_uv))
    real = asyncio.create_subprocess_exec

    async def noted(*arguments: str, **rest: object) -> asyncio.subprocess.Process:
        process = await real(*arguments, **rest)  # type: ignore[arg-type]
        pids.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)

    async def wait() -> None:
        async with made.ready(SOURCE, EMPTY_LOCK, lambda marks: None):
            pass

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    while not pids:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    await asyncio.sleep(0.05)
    assert not second.done()
    assert start_ticks(pids[0]) is not None, "the other one still waits for it"
    second.cancel()
    await asyncio.wait([second])
    assert start_ticks(pids[0]) is None
    assert list((fresh / "builds").glob(".building-*")) == []


async def test_prune_takes_the_unused_and_leaves_the_used(runtime: LocalRuntime, fresh: Path, own_files: Path) -> None:
    lock = wheel(own_files, "cmbonce", "x=1")
    used, unused = make_spec("in-use"), make_spec("once", python("print(1)"), lock=lock)
    await runtime.start(used)
    await runtime.start(unused)
    await until(runtime, used.ref, Sight.RUNNING)
    await until(runtime, unused.ref, Sight.EXITED)
    await runtime._opened.builds.end_compiling()
    assert {build.packages: build.in_use for build in Inventory(settings_for(fresh)).builds()} == {0: True, 1: False}
    assert Inventory(settings_for(fresh)).prune(unused_for_seconds=3600) == ()
    [removed] = Inventory(settings_for(fresh)).prune()
    assert (removed.packages, removed.size_bytes > 0) == (1, True)
    [left] = Inventory(settings_for(fresh)).builds()
    assert left.in_use
    again = make_spec("once", python("print(1)"), generation=2, lock=lock)
    await runtime.start(again)
    assert (await until(runtime, again.ref, Sight.EXITED)).ending.exit_code == 0  # type: ignore[union-attr]
    await stop_and_remove(runtime, used, again)


async def test_an_interpreter_that_went_away_means_a_new_build(made: Builds) -> None:
    async with made.ready(SOURCE, EMPTY_LOCK, lambda marks: None) as build:
        pass
    (build.folder / "bin" / "python").unlink()
    (build.folder / "bin" / "python").symlink_to("/nowhere/python3")
    async with made.ready(SOURCE, EMPTY_LOCK, lambda marks: None) as again:
        assert (again.folder / "bin" / "python").exists()


async def test_a_missing_python_and_a_missing_application_are_named(made: Builds) -> None:
    with pytest.raises(PackagesFailed) as missing:
        async with made.ready(PythonSource((), "3.20"), Lock("", "3.20", 0), lambda marks: None):
            pass
    assert missing.value.reason is StopReason.PYTHON_MISSING
    assert "Python 3.20 is not on this machine" in missing.value.what
    assert "uv python install 3.20" in missing.value.then
    for name in ("no-such-application", "../../settings.py"):
        with pytest.raises(PackagesFailed):
            async with made.ready(PythonSource((), PYTHON, "", name), EMPTY_LOCK, lambda marks: None):
                pass


async def test_a_build_is_named_after_all_it_is_made_of(made: Builds, tmp_path: Path) -> None:
    interpreter = await made._interpreters.usable(PYTHON)
    bundled = tmp_path / "app"
    bundled.mkdir()
    (bundled / "app.py").write_text("1")
    names = {build_name(EMPTY_LOCK, interpreter, None), build_name(EMPTY_LOCK, interpreter, bundled)}
    (bundled / "app.py").write_text("2")
    names.add(build_name(EMPTY_LOCK, interpreter, bundled))
    names.add(build_name(Lock("a==1\n", PYTHON, 1), interpreter, None))
    assert len(names) == 4
    assert build_name(Lock("# another comment\n", PYTHON, 0), interpreter, None) in names


@pytest.mark.index
async def test_a_real_package_from_the_index(runtime: LocalRuntime, fresh: Path) -> None:
    source = PythonSource(("packaging>=23", "six"), PYTHON)
    lock = await UvResolver(settings_for(fresh)).resolve(source)
    assert lock.packages == 2
    spec = make_spec("real", python("import packaging, six; print(packaging.__version__)"), source=source, lock=lock)
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED, seconds=90)
    assert seen.ending is not None
    assert seen.ending.exit_code == 0, seen.ending
    marks = {mark.stage: mark for mark in seen.stages}
    assert marks[Stage.DOWNLOADING].ended_at is not None
    assert (marks[Stage.INSTALLING].done, marks[Stage.INSTALLING].total) == (2, 2)
    await stop_and_remove(runtime, spec)


async def test_looking_at_builds_leaves_a_launch_beside_it_alone(
    runtime: LocalRuntime, fresh: Path, own_files: Path
) -> None:
    """The operator's terminal is another process; it must take nothing of what the platform is about to start."""
    spec = make_spec("beside", lock=wheel(own_files, "cmbslow", "x=1"))
    await runtime.start(spec)
    for _ in range(200):
        Inventory(settings_for(fresh)).builds()
        Inventory(settings_for(fresh)).prune()
        if (await runtime.look(spec.ref)).sight in (Sight.RUNNING, Sight.EXITED):
            break
        await asyncio.sleep(0.02)
    assert (await until(runtime, spec.ref, Sight.RUNNING, Sight.EXITED)).sight is Sight.RUNNING
    await stop_and_remove(runtime, spec)
