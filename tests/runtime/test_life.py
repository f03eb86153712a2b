"""Survival, limits, logs and endings of real processes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.local import limits, machine, supervision
from cmbcluster.runtime.local.process_tree import descendants, start_ticks
from cmbcluster.runtime.local.runtime import LocalRuntime
from cmbcluster.runtime.port import Sight, Spec
from tests.runtime.place import MIB, SERVER, make_spec, python, server, settings_for, stop_and_remove, until

HOG = """
import sys, time
kept = []
print("eating", flush=True)
while True:
    kept.append(bytearray(8 * 1024 * 1024))
    time.sleep(0.01)
"""
CHILDREN = """
import subprocess, sys, time
for _ in range(40):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
time.sleep(60)
"""
# Ignores the request to end, and leaves a grandchild in a session of its own.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
"""


@pytest.fixture(params=["own-network", "none"])
async def runtime(request: pytest.FixtureRequest, data: Path) -> AsyncIterator[LocalRuntime]:
    if request.param == "own-network":
        request.node.add_marker(pytest.mark.sandbox)
    opened = LocalRuntime(settings_for(data), at_level=request.param)
    await opened.open()
    if opened.isolation.level != request.param:
        await opened.close()
        lacks = f"this machine only has {opened.isolation.level}: {opened.isolation.missing}"
        if os.environ.get("CMB_REQUIRE_ALL"):
            pytest.fail(lacks)
        pytest.skip(lacks)
    yield opened
    await opened.close()


@pytest.fixture
async def measured(data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalRuntime]:
    """A runtime on a machine with neither systemd nor writable control groups."""
    monkeypatch.setattr(limits, "probe_limits", lambda: limits.Limiter(limits.MEASURED))
    opened = LocalRuntime(settings_for(data))
    await opened.open()
    yield opened
    await opened.close()


async def ended(runtime: LocalRuntime, spec: Spec, seconds: float = 30) -> StopReason:
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED, seconds=seconds)
    assert seen.ending is not None
    await runtime.remove(spec.ref, workspace=True)
    return seen.ending.reason


async def test_too_much_memory_ends_it_with_a_sentence(runtime: LocalRuntime) -> None:
    spec = make_spec("hungry", python(HOG), memory_bytes=128 * MIB)
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.MEMORY
    assert seen.ending.what == "It used more than 128 MiB and was stopped."
    await runtime.remove(spec.ref, workspace=True)


async def test_measured_limits_hold_too(measured: LocalRuntime) -> None:
    assert measured.limits_by == "measured"
    assert await ended(measured, make_spec("hungry", python(HOG), memory_bytes=128 * MIB)) is StopReason.MEMORY
    assert await ended(measured, make_spec("many", python(CHILDREN), processes=20)) is StopReason.PROCESSES


async def test_measured_cpus_are_pinned(measured: LocalRuntime) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one CPU")
    spec = make_spec(
        "pinned", python("import os; print(len(os.sched_getaffinity(0)), flush=True)\n" + SERVER, "{port}")
    )
    await measured.start(spec)
    await until(measured, spec.ref, Sight.RUNNING)
    lines = [line.text async for line in measured.logs(spec.ref, offset=0, follow=False)]
    assert lines[0] == "1"
    await stop_and_remove(measured, spec)


async def test_a_fork_bomb_hits_its_own_limit(runtime: LocalRuntime) -> None:
    if runtime.limits_by != "cgroup":
        pytest.skip(f"limits are held by {runtime.limits_by} here")
    spec = make_spec("forks", python(CHILDREN), processes=20)
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert "BlockingIOError" in seen.ending.log_tail
    await runtime.remove(spec.ref, workspace=True)


async def test_nothing_escapes_a_stop(runtime: LocalRuntime) -> None:
    spec = make_spec("stubborn", python(STUBBORN + SERVER, "{port}"))
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.RUNNING)
    assert seen.endpoint is not None
    status = json.loads(next(iter(status_files(runtime, spec))).read_text())
    family = descendants(status["supervisor"])
    assert len(family) >= 2
    asked = time.monotonic()
    await runtime.stop(spec.ref)
    assert (await runtime.look(spec.ref)).sight is Sight.STOPPING
    await until(runtime, spec.ref, Sight.EXITED)
    assert time.monotonic() - asked >= 2.5, "the grace was not given"
    assert [pid for pid in family if start_ticks(pid) is not None] == []
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind((seen.endpoint.host, seen.endpoint.port))
    await runtime.remove(spec.ref, workspace=True)


async def test_a_killed_supervisor_takes_its_program_along(runtime: LocalRuntime) -> None:
    spec = make_spec("orphan")
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.RUNNING)
    status = json.loads(next(iter(status_files(runtime, spec))).read_text())
    family = descendants(status["supervisor"])
    os.kill(status["supervisor"], signal.SIGKILL)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.LOST
    give_up_at = time.monotonic() + 5
    while any(start_ticks(pid) is not None for pid in family):
        assert time.monotonic() < give_up_at, "the program outlived its supervisor"
        await asyncio.sleep(0.02)
    await runtime.remove(spec.ref, workspace=True)


async def test_a_killed_platform_leaves_it_running_and_the_next_adopts_it(runtime: LocalRuntime, data: Path) -> None:
    """The platform is another process here, so that it can be killed like a real one."""
    level = runtime.isolation.level
    code = f"""
import asyncio
from pathlib import Path
from tests.runtime.place import make_spec, settings_for, until
from cmbcluster.runtime.local.runtime import LocalRuntime
from cmbcluster.runtime.port import Sight
async def main():
    runtime = LocalRuntime(settings_for(Path({str(data)!r})), at_level={level!r})
    await runtime.open()
    spec = make_spec("survivor")
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.RUNNING)
    print(seen.endpoint.host, seen.endpoint.port, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as platform:
        assert platform.stdout is not None
        host, port = (await asyncio.to_thread(platform.stdout.readline)).split()
        platform.kill()
    spec = make_spec("survivor")
    status = json.loads((data / "environments/survivor/runs/1/status.json").read_text())
    assert start_ticks(status["supervisor"]) == status["supervisor_ticks"]
    next_one = LocalRuntime(settings_for(data), at_level=level)
    await next_one.open()
    seen = await next_one.look(spec.ref)
    assert seen.sight is Sight.RUNNING
    assert seen.endpoint is not None
    assert (seen.endpoint.host, seen.endpoint.port) == (host, int(port))
    with socket.create_connection((host, int(port)), timeout=3):
        pass
    assert json.loads((data / "environments/survivor/runs/1/status.json").read_text()) == status
    await next_one.stop(spec.ref)
    seen = await until(next_one, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.ASKED
    await next_one.remove(spec.ref, workspace=True)
    await next_one.close()


async def test_what_ended_while_nobody_looked_is_told_afterwards(runtime: LocalRuntime, data: Path) -> None:
    spec = make_spec("quiet-end", python("import sys, time; " + "time.sleep(0.5); print('bye'); sys.exit(4)"))
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.STARTING)
    await runtime.close()
    await asyncio.sleep(1.0)
    await runtime.open()
    seen = await runtime.look(spec.ref)
    assert seen.ending is not None
    assert (seen.sight, seen.ending.reason, seen.ending.exit_code) == (Sight.EXITED, StopReason.EXITED, 4)
    assert "bye" in seen.ending.log_tail
    await runtime.remove(spec.ref, workspace=True)


async def test_a_supervisor_is_not_started_twice(runtime: LocalRuntime) -> None:
    spec = make_spec("single")
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.RUNNING)
    folder = next(iter(status_files(runtime, spec))).parent
    again = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; from {supervision.__name__} import supervise; sys.exit(supervise(sys.argv[1]))",
        ]
        + [str(folder)],
        check=False,
        timeout=10,
    )
    assert again.returncode == 75
    assert (await runtime.look(spec.ref)).sight is Sight.RUNNING
    await stop_and_remove(runtime, spec)


async def test_a_command_that_does_not_exist_is_named(runtime: LocalRuntime) -> None:
    spec = make_spec("typo", ("jupiter-lab", "--port={port}"))
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.START_FAILED
    assert seen.ending.what == "“jupiter-lab” could not be started: no such file or directory."
    await runtime.remove(spec.ref, workspace=True)


async def test_shell_characters_are_only_characters(runtime: LocalRuntime) -> None:
    spec = make_spec("shell", python("import sys; print(sys.argv[1:])", "$(id)", "; rm -rf /", "{unknown}", "a b"))
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert "['$(id)', '; rm -rf /', '{unknown}', 'a b']" in seen.ending.log_tail
    await runtime.remove(spec.ref, workspace=True)


async def test_the_log_stays_small_and_keeps_the_newest(runtime: LocalRuntime, data: Path) -> None:
    talk = """
for n in range(20000): print('line', n)
print('x' * 30000)
print('\\x1b[31mred\\x1b[0m 10%\\r20%\\rdone', flush=True)
"""
    spec = make_spec("talkative", python(talk + SERVER, "{port}"))
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.RUNNING)
    await asyncio.sleep(0.2)
    kept = sum(file.stat().st_size for file in (data / "environments/talkative/runs/1").glob("output.*"))
    assert 30_000 < kept <= 65536
    lines = [line async for line in runtime.logs(spec.ref, offset=0, follow=False)]
    texts = [line.text for line in lines]
    assert "done" in texts
    assert max(len(text) for text in texts) <= 8192
    assert all(line.at is not None for line in lines)
    assert lines[0].offset > 65536, "offsets go on counting although old bytes went away"
    last = [line.text async for line in runtime.logs(spec.ref, offset=-200, follow=False)]
    assert last == texts[-len(last) :]
    await stop_and_remove(runtime, spec)


async def test_a_port_taken_by_a_race_is_replaced(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = LocalRuntime(settings_for(data))
    await runtime.open()
    if runtime.isolation.level != "own-network":
        await runtime.close()
        pytest.skip("only pasta can be told another port afterwards")
    with socket.socket() as thief:
        thief.bind(("0.0.0.0", 0))
        thief.listen()
        taken = [thief.getsockname()[1]]
        pick = machine.Ports.pick
        monkeypatch.setattr(machine.Ports, "pick", lambda self, *host: taken.pop() if taken else pick(self, *host))
        spec = make_spec("unlucky")
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.RUNNING, Sight.EXITED)
        assert seen.sight is Sight.RUNNING, seen
        assert taken == []
        await stop_and_remove(runtime, spec)
    await runtime.close()


async def test_a_fixed_port_in_use_is_named_where_the_network_is_shared(data: Path) -> None:
    runtime = LocalRuntime(settings_for(data), at_level="none")
    await runtime.open()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        spec = make_spec("fixed", python(SERVER, str(port)), port=port)
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.what == f"Port {port} is in use on this machine."
    await runtime.remove(spec.ref, workspace=True)
    await runtime.close()


async def test_a_workspace_closed_by_its_owner_can_be_removed(runtime: LocalRuntime, data: Path) -> None:
    code = "import os; os.makedirs('a/b'); open('a/b/c', 'w').close(); os.chmod('a/b', 0); os.chmod('a', 0)"
    spec = make_spec("closed", python(code))
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.EXITED)
    await runtime.remove(spec.ref, workspace=True)
    assert not (data / "environments/closed").exists()


async def test_a_workspace_of_any_depth_is_measured_and_removed(runtime: LocalRuntime, data: Path) -> None:
    code = "import os\nfor _ in range(1500):\n    os.mkdir('deeper' * 10); os.chdir('deeper' * 10)\n"
    code += "open('bottom', 'wb').write(b'x' * 8192)"
    spec = make_spec("deep", python(code))
    outside = data.parent / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.exit_code == 0, seen.ending
    (data / "environments/deep/workspace/link").symlink_to(outside)
    measured = await runtime.workspace_bytes(spec.ref)
    assert measured is not None
    assert measured >= 8192
    await runtime.remove(spec.ref, workspace=True)
    assert not (data / "environments/deep").exists()
    assert (outside / "kept").exists()
    (outside / "kept").unlink()
    outside.rmdir()


async def test_a_flood_of_output_costs_its_own_program_alone(data: Path) -> None:
    runtime = LocalRuntime(settings_for(data))
    await runtime.open()
    spec = make_spec("flood", ("yes", ""))
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.STARTING)
    await asyncio.sleep(0.5)
    status = json.loads(next(iter(status_files(runtime, spec))).read_text())
    one = psutil.Process(status["supervisor"])
    before, since = sum(one.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(3)
    used = (sum(one.cpu_times()[:2]) - before) / (time.monotonic() - since)
    begun = time.monotonic()
    await runtime.stop(spec.ref)
    await until(runtime, spec.ref, Sight.EXITED)
    assert time.monotonic() - begun < 5, "a stop is heard while output waits"
    # About 0.1 of a core; all of one before it was bounded.
    assert used < 0.5
    await runtime.remove(spec.ref, workspace=True)
    await runtime.close()


async def test_only_the_last_runs_are_kept(runtime: LocalRuntime, data: Path) -> None:
    for generation in range(1, 6):
        spec = make_spec("often", python("import sys; sys.exit(0)"), generation=generation)
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.EXITED)
    kept = sorted(folder.name for folder in (data / "environments/often/runs").iterdir())
    assert kept == ["3", "4", "5"]
    await runtime.remove(spec.ref, workspace=True)


async def test_usage_is_measured(runtime: LocalRuntime) -> None:
    burn = "import threading\ndef burn():\n    while True: pass\nthreading.Thread(target=burn, daemon=True).start()\n"
    spec = make_spec("busy", python(burn + SERVER, "{port}"))
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.RUNNING)
    first = await runtime.usage(spec.ref)
    await asyncio.sleep(0.6)
    second = await runtime.usage(spec.ref)
    assert first is not None
    assert second is not None
    assert first.cpu_millis is None, "one sample says nothing about a rate"
    assert second.cpu_millis is not None
    assert second.cpu_millis > 100
    assert second.memory_bytes is not None
    assert 2 * MIB < second.memory_bytes < 200 * MIB
    assert second.processes == 1
    assert (second.received_bytes is None) == (runtime.isolation.level != "own-network")
    await stop_and_remove(runtime, spec)


async def test_from_start_to_the_program_takes_little(runtime: LocalRuntime) -> None:
    spans = []
    for number in range(5):
        spec = make_spec(f"quick-{number}", server())
        begun = time.time()
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.RUNNING)
        ended_at = next(mark.ended_at for mark in seen.stages if mark.stage == "starting")
        assert ended_at is not None
        spans.append(ended_at.timestamp() - begun)
        await stop_and_remove(runtime, spec)
    # 45 ms on an idle machine with two cores; the bound leaves room for a busy one.
    assert sorted(spans)[2] < 0.4, spans


def status_files(runtime: LocalRuntime, spec: Spec) -> list[Path]:
    folder = runtime._opened.environments / spec.ref.slug / "runs" / str(spec.ref.generation)
    with contextlib.suppress(OSError):
        return list(folder.glob("status.json"))
    return []


async def test_a_spawn_that_fails_leaves_nothing_behind(runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec("unborn")
    planned: list[str] = []
    plan = limits.Limiter.plan

    def noted(limiter: limits.Limiter, wanted: Spec) -> limits.Plan:
        made = plan(limiter, wanted)
        planned.extend(made.cgroups)
        return made

    def refuse(_folder: Path) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(limits.Limiter, "plan", noted)
    monkeypatch.setattr(runtime._opened.nursery, "spawn", refuse)
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED)
    assert seen.ending is not None
    assert seen.ending.reason is StopReason.START_FAILED
    assert planned or runtime.limits_by != "cgroup"
    assert [group for group in planned if Path(group).exists()] == []
    # Nor its variables, which nobody has read and deleted.
    assert not list(runtime._opened.environments.glob(f"unborn/runs/*/{supervision.LAUNCH}"))
    await runtime.remove(spec.ref, workspace=True)
