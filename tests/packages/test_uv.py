"""The resolver with the real uv: interpreters, single flight, cancelling, the real index."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import PythonSource
from cmbcluster.errors import PackagesUnavailable
from cmbcluster.packages.interpreters import Interpreters
from cmbcluster.packages.port import PackagesFailed
from cmbcluster.packages.tool import UvTool
from cmbcluster.packages.uv import UvResolver
from cmbcluster.runtime.local.process_tree import start_ticks
from tests.runtime.place import PYTHON, data_folder, settings_for


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with data_folder() as data:
        yield data


@pytest.fixture
def resolver(folder: Path) -> UvResolver:
    return UvResolver(settings_for(folder))


async def test_our_own_python_is_found_and_the_list_is_sorted(resolver: UvResolver) -> None:
    found = await resolver.interpreters()
    versions = [tuple(map(int, each.version.split("."))) for each in found]
    assert versions == sorted(versions, reverse=True)
    assert ".".join(map(str, sys.version_info[:3])) in {each.version for each in found}
    assert all(Path(each.path).is_file() for each in found)


async def test_the_chosen_interpreter_runs_as_the_environments_account(folder: Path) -> None:
    tool = UvTool(settings_for(folder))
    tool.prepare()
    interpreter = await Interpreters(tool).usable(PYTHON)
    code = "import sys, ssl, sqlite3, ctypes, os; print(sys.prefix, sys.version_info[1], os.getuid())"
    process = await asyncio.create_subprocess_exec(
        interpreter.path, "-I", "-c", code, stdout=asyncio.subprocess.PIPE,
        **({"user": tool.account.uid, "group": tool.account.gid} if tool.account.changes else {}),  # type: ignore[arg-type]
    )  # fmt: skip
    output, _ = await process.communicate()
    prefix, minor, uid = output.decode().split()
    assert process.returncode == 0
    assert Path(interpreter.path).is_relative_to(prefix)
    assert int(minor) == sys.version_info.minor
    assert int(uid) == tool.account.uid


async def test_nothing_to_resolve_is_an_empty_lock(resolver: UvResolver) -> None:
    lock = await resolver.resolve(PythonSource((), PYTHON))
    assert (lock.text, lock.packages) == ("", 0)


async def test_a_python_that_is_not_here_is_named(resolver: UvResolver) -> None:
    with pytest.raises(PackagesFailed) as missing:
        await resolver.resolve(PythonSource(("numpy",), "3.20"))
    assert missing.value.reason is StopReason.PYTHON_MISSING
    assert PYTHON in missing.value.what


async def test_an_index_that_is_not_there_is_unavailable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder.parent))
    with pytest.raises(PackagesUnavailable):
        await UvResolver(settings_for(folder)).resolve(PythonSource(("a-package",), PYTHON))


async def test_equal_sources_resolve_once_and_the_last_who_gives_up_ends_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = UvResolver(settings_for(folder))
    await resolver.interpreters()
    slow = folder.parent / "slow-uv"
    slow.write_text("#!/bin/sh\nsleep 60 &\nsleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setitem(resolver._tool.__dict__, "binary", str(slow))
    pids: list[int] = []
    real = asyncio.create_subprocess_exec

    async def noted(*arguments: str, **rest: object) -> asyncio.subprocess.Process:
        process = await real(*arguments, **rest)  # type: ignore[arg-type]
        pids.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    source = PythonSource(("numpy",), PYTHON)
    waiting = [asyncio.create_task(resolver.resolve(source)) for _ in range(3)]
    while not pids:
        await asyncio.sleep(0.01)
    for task in waiting[:2]:
        task.cancel()
    await asyncio.wait(waiting[:2])
    await asyncio.sleep(0.05)
    assert start_ticks(pids[0]) is not None
    waiting[2].cancel()
    await asyncio.wait(waiting)
    for _ in range(200):
        if start_ticks(pids[0]) is None:
            break
        await asyncio.sleep(0.01)
    assert start_ticks(pids[0]) is None
    assert len(pids) == 1
    for _ in range(200):
        if not list((folder / "scratch").glob("scratch-*")):
            break
        await asyncio.sleep(0.01)
    assert list((folder / "scratch").glob("scratch-*")) == []


@pytest.mark.index
async def test_the_real_index(resolver: UvResolver) -> None:
    locks = await asyncio.gather(*(resolver.resolve(PythonSource(("packaging",), PYTHON)) for _ in range(3)))
    assert len({lock.digest for lock in locks}) == 1
    assert locks[0].packages == 1
    assert "--hash=sha256:" in locks[0].text
    assert "://" not in locks[0].text
    old = await resolver.resolve(PythonSource(("packaging",), PYTHON, "2023-06-01"))
    assert old.text.startswith("packaging==23.1 ")


@pytest.mark.index
@pytest.mark.parametrize(
    ("requirements", "as_of", "words"),
    [
        (("no-such-package-zzqq",), "", "There is no package “no-such-package-zzqq”."),
        (("packaging==999",), "", "There is no version packaging==999."),
        (("packaging<20", "packaging>22"), "", "do not go together"),
        (("jupyterlab",), "2015-01-01", "No version of jupyterlab that fits was published by 2015-01-01."),
    ],
)
async def test_what_the_author_can_mend(
    resolver: UvResolver, requirements: tuple[str, ...], as_of: str, words: str
) -> None:
    with pytest.raises(PackagesFailed) as failed:
        await resolver.resolve(PythonSource(requirements, PYTHON, as_of))
    assert failed.value.reason is StopReason.RESOLVE_FAILED
    assert words in failed.value.what


async def test_in_a_cluster_the_image_says_which_python() -> None:
    with data_folder() as data:

        def resolver_for(python: str) -> UvResolver:
            return UvResolver(settings_for(data, runtime="kubernetes", workspace_image="a:1", workspace_python=python))

        assert (await resolver_for(PYTHON).resolve(PythonSource((), ">=3.9"))).python == PYTHON
        with pytest.raises(PackagesFailed, match="needs Python 3.9 or newer"):
            await resolver_for("3.20").resolve(PythonSource((), ">=3.9"))
