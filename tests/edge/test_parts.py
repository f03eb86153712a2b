"""The edge's parts one by one: folders, port, configuration, pages, built frontend, the gate's rules."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import stat
import statistics
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.gate import GateAnswer, Verdict
from cmbcluster.domain.lifecycle import Phase, Stage, StopReason
from cmbcluster.domain.views import ReasonView
from cmbcluster.edge import frontend, pages
from cmbcluster.edge.caddy import check_port
from cmbcluster.edge.caddyfile import EdgePlan, caddyfile
from cmbcluster.edge.gate import Gate, local_path, without_ours
from cmbcluster.edge.gate_server import GateServer
from cmbcluster.edge.rooms import close_rooms, listen, open_rooms
from cmbcluster.errors import StartRefused
from cmbcluster.settings import Settings
from tests.edge.stand_ins import ScriptedAccess, environment, stage

HOST, HOME = "demo-k7q2mx.localhost:8200", "http://localhost:8200"


def test_rooms_are_private_and_leave_nothing(tmp_path: Path) -> None:
    rooms = open_rooms(tmp_path / "run")
    with listen(rooms.gate):
        assert stat.S_IMODE(rooms.home.stat().st_mode) == 0o700
        assert stat.S_IMODE(rooms.gate.stat().st_mode) == 0o600
    # As after a crash: the stale socket must not be in the way.
    with listen(open_rooms(tmp_path / "run").gate):
        pass
    close_rooms(rooms)
    assert not (tmp_path / "run").exists()


def test_sockets_move_where_paths_are_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "run"
    first = open_rooms(deep)
    assert first.sockets != first.home
    listen(first.web).close()
    second = open_rooms(deep)
    assert not first.sockets.exists()
    assert second.sockets.exists()
    close_rooms(second)
    assert not second.sockets.exists()


def test_only_a_folder_of_ours_is_taken_away(tmp_path: Path) -> None:
    precious = Path(tempfile.mkdtemp(prefix="precious-", dir=tmp_path))
    rooms = open_rooms(tmp_path / "run")
    (rooms.home / "sockets-folder").write_text(str(precious))
    open_rooms(tmp_path / "run")
    assert precious.exists()


def test_a_port_in_use_is_named_with_its_user_and_the_setting() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StartRefused) as refused:
            check_port(("127.0.0.1",), port)
    assert f"Port {port}" in str(refused.value)
    assert f"(process {os.getpid()})" in str(refused.value)
    assert "CMB_PORT=" in str(refused.value)
    check_port(("127.0.0.1",), port)


@pytest.mark.parametrize("name", ["with`quote", "line\nbreak"])
def test_no_path_breaks_out_of_the_configuration(tmp_path: Path, name: str) -> None:
    plan = EdgePlan("localhost", 8200, ("127.0.0.1",), tmp_path / name / "w", tmp_path / "g", None)
    with pytest.raises(ValueError, match="cannot be served"):
        caddyfile(plan)


def test_pages_show_no_markup_of_others() -> None:
    evil = "<script>alert(1)</script>&\"'"
    shown = environment(
        name=evil, application_name=evil, icon=evil, reason=ReasonView(StopReason.EXITED, evil, evil, evil)
    )
    drawn = [
        pages.at_rest(shown, host=evil, home=HOME),
        pages.at_rest(environment(name=evil, phase=Phase.FAILED), host=evil, home=HOME),
        pages.launching(environment(name=evil, stages=(stage(Stage.INSTALLING, 1, 2, evil),)), host=evil, home=HOME),
        pages.unseen(shown, host=evil, home=HOME),
        pages.not_yours(host=evil, home=HOME),
        pages.refused(evil, evil, host=evil, home=HOME, again=evil),
        pages.no_answer(host=evil, home=HOME),
    ]
    for page in drawn:
        text = page.decode()
        assert "<script" not in text
        assert text.startswith("<!doctype html>")
        assert text.count("<h1>") == text.count("<main>") == 1


def test_a_launch_tells_how_far_it_is() -> None:
    building = environment(phase=Phase.PULLING, stages=(stage(Stage.INSTALLING, 62, 118, "packages"),))
    text = pages.launching(building, host=HOST, home=HOME).decode()
    assert "62 of 118 packages" in text
    assert '<progress max="118" value="62"' in text
    assert 'http-equiv="refresh" content="2"' in text
    loading = environment(phase=Phase.PULLING, stages=(stage(Stage.DOWNLOADING, 3_000_000, 9_000_000, "bytes"),))
    assert "3 of 9 MB" in pages.launching(loading, host=HOST, home=HOME).decode()
    assert "waiting for its turn" in pages.launching(environment(phase=Phase.QUEUED), host=HOST, home=HOME).decode()


def test_a_page_that_waits_for_a_person_does_not_reload() -> None:
    assert b"http-equiv" not in pages.at_rest(environment(), host=HOST, home=HOME)
    assert b"http-equiv" in pages.at_rest(environment(phase=Phase.STOPPING), host=HOST, home=HOME)


@pytest.mark.parametrize(
    ("cookie", "left"),
    [
        ("", ""),
        ("a=1; b=2", "a=1; b=2"),
        ("cmb_session=x", ""),
        ("a=1;cmb_environment=x;b=2", "a=1; b=2"),
        ("CMB_Session=x; __Host-cmb_session=y; __Secure-cmb_environment=z; cmb_return=/; a=1", "a=1"),
        (' cmb_session ="x"; a="1;2"', 'a="1; 2"'),
        ("cmb_session; a=1", "a=1"),
        ("xcmb_session=1", "xcmb_session=1"),
    ],
)
def test_our_cookies_are_taken_out(cookie: str, left: str) -> None:
    assert without_ours(cookie) == left


@given(st.text(max_size=200))
def test_the_way_back_never_leaves_the_host(text: str) -> None:
    for path in (local_path(text), local_path("/" + text)):
        assert path.startswith("/")
        assert not path.startswith(("//", "/\\"))
        assert not any(c in path for c in "\r\n\t\\ ")


def test_sources_have_one_name(tmp_path: Path) -> None:
    (tmp_path / "cmbcluster" / "web").mkdir(parents=True)
    (tmp_path / "assets" / "external").mkdir(parents=True)
    (tmp_path / "rxconfig.py").write_text("x")
    page = tmp_path / "cmbcluster" / "web" / "page.py"
    page.write_text("one")
    first = frontend.sources_key(tmp_path)
    (tmp_path / "assets" / "external" / "made.js").write_text("by the build")
    (tmp_path / "cmbcluster" / "web" / "__pycache__").mkdir()
    (tmp_path / "cmbcluster" / "web" / "__pycache__" / "page.pyc").write_text("x")
    assert frontend.sources_key(tmp_path) == first
    page.write_text("two")
    assert frontend.sources_key(tmp_path) != first
    page.write_text("one")
    assert frontend.sources_key(tmp_path) == first


def test_a_build_is_pointed_at_another_address(tmp_path: Path) -> None:
    script = tmp_path / "env.js"
    script.write_text('{"EVENT":"ws://localhost:8200/_event","PING":"http://localhost:8200/ping"}')
    (tmp_path / "env.js.gz").write_bytes(gzip.compress(script.read_bytes()))
    (tmp_path / "other.js").write_text("nothing to see")
    assert frontend.retarget(tmp_path, "http://localhost:8200") == 0
    assert frontend.retarget(tmp_path, "https://cmb.example.org") == 1
    expected = '{"EVENT":"wss://cmb.example.org/_event","PING":"https://cmb.example.org/ping"}'
    assert script.read_text() == expected
    assert gzip.decompress((tmp_path / "env.js.gz").read_bytes()).decode() == expected


def test_a_missing_bun_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StartRefused, match=r"npm install --prefix .*\.tools bun@"):
        frontend.find_bun(tmp_path)


async def test_a_failed_build_shows_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rxconfig.py").write_text("raise SystemExit('the config is broken')\n")
    (tmp_path / ".tools" / "node_modules" / ".bin").mkdir(parents=True)
    bun = tmp_path / ".tools" / "node_modules" / ".bin" / "bun"
    bun.write_text("#!/bin/sh\nexit 1\n")
    bun.chmod(0o755)
    monkeypatch.setattr(frontend, "project_root", lambda: tmp_path)
    with pytest.raises(StartRefused, match="the config is broken"):
        await frontend.ready_frontend(tmp_path / "data", "http://localhost:9", lambda _: None)
    assert not (tmp_path / "data").exists()


async def test_the_gate_is_quick(tmp_path: Path) -> None:
    access = ScriptedAccess()
    access.needs_cookie = False
    access.answer = GateAnswer(Verdict.PASS, host="127.0.0.1", port=1)
    settings = Settings(data_dir=tmp_path, _env_file=None)
    rooms = open_rooms(tmp_path / "run")
    server = GateServer(Gate(access, settings), rooms.gate)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(rooms.gate))
    question = (
        f"GET /authorize HTTP/1.1\r\nHost: {HOST}\r\nCookie: cmb_environment=x; a=b\r\nAccept: */*\r\n\r\n".encode()
    )
    taken = []
    for _ in range(500):
        since = time.perf_counter()
        writer.write(question)
        assert b"x-env-upstream: 127.0.0.1:1" in (await reader.readuntil(b"\r\n\r\n")).lower()
        taken.append(time.perf_counter() - since)
    writer.close()
    await server.stop()
    close_rooms(rooms)
    assert statistics.median(taken) < 0.001
