"""The client at a terminal: whom it acts for, what it prints, how it ends. A small server is its platform."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cmbcluster.commands.client import account, acts, show
from cmbcluster.commands.client.account import Account, clean_url, is_in_the_clear, keep_account, present_account
from cmbcluster.commands.client.connection import Connection
from cmbcluster.commands.client.exits import ClientRefused, Exit, exit_of
from tests.cli.test_commands import run

TOKEN = "cmb_of-this-test"
ROW: dict[str, Any] = {
    "id": "0190163d-8694-739b-aea5-966c26f8ad91",
    "name": "planck",
    "application": "tiny",
    "phase": "running",
    "deadline_at": None,
    "cpu_millis": 1000,
    "memory_bytes": 2 * 1024**3,
    "address": "http://planck-k7q2mx.localhost:8200",
    "reason": None,
}


class StandIn(BaseHTTPRequestHandler):
    """Answers what the test wrote down, in order, and keeps what it was asked."""

    answers: ClassVar[list[tuple[int, dict[str, str], Any]]] = []
    asked: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((f"{self.command} {self.path}", dict(self.headers), body))
        status, headers, content = self.answers.pop(0)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names of the library

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def platform_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The stand-in, with this test's own folder for the account."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(account, "account_file", lambda: tmp_path / "cmbcluster" / "client.json")
    for name in ("CMB_URL", "CMB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    StandIn.answers, StandIn.asked = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_account_is_private_and_whole(platform_url: str, tmp_path: Path) -> None:
    path = keep_account(Account(platform_url, TOKEN))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    keep_account(Account(platform_url, TOKEN + "2"))
    assert present_account().token == TOKEN + "2"
    assert os.listdir(path.parent) == ["client.json"]
    assert TOKEN not in repr(present_account())
    path.write_text("{")
    with pytest.raises(ClientRefused) as refused:
        present_account()
    assert refused.value.exit_code is Exit.NOT_SIGNED_IN


def test_a_kept_token_goes_to_its_own_address_alone(platform_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_account(Account(platform_url, TOKEN))
    monkeypatch.setenv("CMB_URL", "https://other.example")
    with pytest.raises(ClientRefused) as refused:
        present_account()
    assert refused.value.exit_code is Exit.NOT_SIGNED_IN
    monkeypatch.setenv("CMB_TOKEN", "cmb_other")
    assert present_account() == Account("https://other.example", "cmb_other")
    monkeypatch.delenv("CMB_URL")
    assert present_account() == Account(platform_url, "cmb_other")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("http://localhost:8200/", "http://localhost:8200"),
        ("cmb.example.org", "https://cmb.example.org"),
        ("https://cmb.example.org/settings?tab=tokens", "https://cmb.example.org"),
        ("http://[::1]:8200", "http://[::1]:8200"),
        ("ftp://x", ""),
        ("https://", ""),
        ("https://u:p@x", ""),
        ("http://x:port", ""),
    ],
)
def test_addresses(typed: str, kept: str) -> None:
    if kept:
        assert clean_url(typed) == kept
        return
    with pytest.raises(ClientRefused) as refused:
        clean_url(typed)
    assert refused.value.exit_code is Exit.USAGE


def test_who_could_read_the_token_on_the_way() -> None:
    assert is_in_the_clear("http://cmb.example.org")
    for url in ("https://cmb.example.org", "http://localhost:8200", "http://127.0.0.1", "http://cmb.localhost"):
        assert not is_in_the_clear(url)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "not_signed_in", Exit.NOT_SIGNED_IN),
        (404, "not_found", Exit.NOT_FOUND),
        (422, "invalid_input", Exit.USAGE),
        (409, "quota_exceeded", Exit.LIMIT),
        (429, "too_many_requests", Exit.LIMIT),
        (409, "conflict", Exit.ERROR),
        (403, "forbidden", Exit.ERROR),
        (500, "failed", Exit.ERROR),
        (503, "unavailable", Exit.AWAY),
    ],
)
def test_exit_statuses(platform_url: str, status: int, code: str, expected: Exit) -> None:
    problem = {"title": "What happened.", "detail": "What to do.", "code": code}
    StandIn.answers = [(status, {"Content-Type": "application/problem+json"}, problem)]
    assert exit_of(status, code) is expected
    with Connection(Account(platform_url, TOKEN)) as there, pytest.raises(ClientRefused) as refused:
        there.ask("GET", "/me")
    assert refused.value.exit_code is expected
    assert str(refused.value) == "What happened. What to do."
    assert StandIn.asked[0][1]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "answer",
    [
        (302, {"Location": "http://evil.example/"}, b""),
        (200, {"Content-Type": "text/html"}, b"<p>welcome</p>"),
        (421, {"Content-Type": "text/plain"}, b"Nothing is served under this name."),
    ],
)
def test_another_server_is_recognised_and_never_followed(platform_url: str, answer: tuple[int, Any, bytes]) -> None:
    StandIn.answers = [answer]
    with Connection(Account(platform_url, TOKEN)) as there, pytest.raises(ClientRefused) as refused:
        there.ask("GET", "/me")
    assert "Something else answers" in str(refused.value)
    assert refused.value.exit_code is Exit.AWAY
    assert len(StandIn.asked) == 1


def test_it_asks_again_when_the_platform_restarts(platform_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    StandIn.answers = [(503, {"Content-Type": "text/plain"}, b"starting"), (200, {}, {"items": [ROW], "next": None})]
    with Connection(Account(platform_url, TOKEN)) as there:
        assert there.rows("/environments") == [ROW]
    # What must not happen twice is asked for once.
    StandIn.answers = [(503, {"Content-Type": "text/plain"}, b"starting"), (200, {}, ROW)]
    with Connection(Account(platform_url, TOKEN)) as there, pytest.raises(ClientRefused):
        there.ask("POST", "/environments/planck/extend")


def test_an_image_is_ordered_in_place_of_packages(tmp_path: Path) -> None:
    more: dict[str, Any] = {"command": "", "python": "", "port": 8888, "as_of": "", "health_path": "/"}
    assert acts.custom_order(None, image="ghcr.io/team/app", **more) == {
        "image": "ghcr.io/team/app",
        "command": "",
        "port": 8888,
        "health_path": "/",
    }
    with pytest.raises(ClientRefused, match="--image or --requirements") as refused:
        acts.custom_order(tmp_path / "packages.txt", image="ghcr.io/team/app", **more)
    assert refused.value.exit_code == Exit.USAGE


def test_a_launch_is_asked_for_again_with_the_same_key(platform_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    keep_account(Account(platform_url, TOKEN))
    StandIn.answers = [(503, {"Content-Type": "text/plain"}, b""), (201, {}, ROW)]
    acts.launch("tiny", name="planck", size="", hours=1.5, custom=None, wait=False, open_it=False, as_json=True)
    first, second = StandIn.asked
    assert first[1]["Idempotency-Key"] == second[1]["Idempotency-Key"]
    assert json.loads(second[2]) == {"application": "tiny", "name": "planck", "uptime_seconds": 5400}


def test_every_page_of_a_list(platform_url: str) -> None:
    keep_account(Account(platform_url, TOKEN))
    StandIn.answers = [(200, {}, {"items": [ROW], "next": "abc"}), (200, {}, {"items": [ROW], "next": None})]
    with Connection(present_account()) as there:
        assert len(there.rows("/environments")) == 2
    assert "cursor=abc" in StandIn.asked[1][0]


def test_followed_output_goes_on_where_it_was(platform_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    one, two = ({"at": None, "text": text, "offset": offset} for text, offset in (("one", 4), ("two", 8)))
    StandIn.answers = [
        (200, {"Content-Length": "500"}, json.dumps(one).encode() + b"\n"),
        (200, {}, json.dumps(two).encode() + b"\n"),
    ]
    with Connection(Account(platform_url, TOKEN)) as there:
        assert [line["text"] for line in there.lines("planck", follow=True, offset=0)] == ["one", "two"]
    assert "offset=4" in StandIn.asked[1][0]


@pytest.mark.parametrize("previous", [True, False])
def test_output_of_the_run_before_is_asked_for_and_not_followed(platform_url: str, previous: bool) -> None:
    StandIn.answers = [(200, {}, json.dumps({"at": None, "text": "one", "offset": 4}).encode() + b"\n")]
    keep_account(Account(platform_url, TOKEN))
    acts.logs("planck", follow=False, previous=previous, times=False, as_json=False)
    assert ("previous=true" in StandIn.asked[0][0]) is previous
    assert "follow=false" in StandIn.asked[0][0]


def test_names_are_never_paths(platform_url: str) -> None:
    StandIn.answers = [(200, {}, ROW)]
    keep_account(Account(platform_url, TOKEN))
    acts.show_environment("../me?x=1", as_json=True)
    assert StandIn.asked[0][0] == "GET /api/v1/environments/..%2Fme%3Fx%3D1"


def test_a_terminal_is_not_commanded(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.plain("a\x1b]0;evil\x07b\x1b[31mred\x1b[0m\x9b2J\rc") == "a]0;evilb\x1b[31mred\x1b[0m2Jc"
    show.environments([{**ROW, "application": "[red]x[/red]\x1b[2J"}])
    printed = capsys.readouterr().out
    assert "[red]x[/red]" in printed
    assert "\x1b[2J" not in printed


def test_completion_knows_names_and_is_silent_about_trouble(platform_url: str) -> None:
    assert acts.names("p") == []
    keep_account(Account(platform_url, TOKEN))
    StandIn.answers = [(200, {}, {"items": [ROW, {**ROW, "name": "quijote"}], "next": None}), (500, {}, {})]
    assert acts.names("pl") == ["planck"]
    assert acts.names("pl") == []


def in_a_process(code: str, folder: Path, **surroundings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as the installed script does, and then ``code``."""
    start = (
        "import sys\nsys.argv = ['cmbcluster', 'ls']\nfrom cmbcluster.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CMB_")}
    kept |= {"PYTHONPATH": str(Path(__file__).parents[2]), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", start + code],
        cwd=folder,
        env=kept | surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_completion_of_the_shell_asks_the_platform(platform_url: str, tmp_path: Path) -> None:
    StandIn.answers = [(200, {}, {"items": [ROW], "next": None})]
    asked = {"_CMBCLUSTER_COMPLETE": "complete_bash", "COMP_WORDS": "cmbcluster stop pl", "COMP_CWORD": "2"}
    done = in_a_process("", tmp_path, CMB_URL=platform_url, CMB_TOKEN=TOKEN, **asked)
    assert done.stdout.split() == ["planck"], done.stderr


@pytest.mark.parametrize("command", ["apps", "ls", "logs", "show", "stop", "start", "extend", "rm", "open", "launch"])
def test_without_a_login_each_command_says_what_to_do(tmp_path: Path, command: str) -> None:
    arguments = (command,) if command in ("apps", "ls") else (command, "planck")
    done = run(*arguments, folder=tmp_path, HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr.strip() == "You are not logged in. Run cmbcluster login."
    assert done.stdout == ""


def test_the_client_loads_none_of_the_platform(tmp_path: Path) -> None:
    done = in_a_process(
        "heavy = {'reflex', 'sqlalchemy', 'starlette', 'fastapi', 'uvicorn'} & set(sys.modules)\n"
        "rooms = ('cmbcluster.services', 'cmbcluster.db', 'cmbcluster.http', 'cmbcluster.wiring')\n"
        "heavy |= {name for name in sys.modules if name.startswith(rooms)}\n"
        "raise SystemExit(f'loaded {heavy}' if heavy else 0)\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
