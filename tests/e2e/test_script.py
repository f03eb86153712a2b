"""A day of a script: a token made on the page, the client at a terminal, curl at the environment's address."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.conftest import ROOT, Running, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.index, pytest.mark.timeout(400)]

# Answers each request with the headers it got, says so in its log, and repeats messages.
PROGRAM = """
import asyncio, json, sys
from websockets.asyncio.server import serve
def tell(c, r):
    print("greeted", r.path)
    if "Upgrade" not in r.headers:
        return c.respond(200, json.dumps(list(r.headers.raw_items())))
async def echo(s):
    async for m in s:
        await s.send(m)
async def main():
    async with serve(echo, sys.argv[2], int(sys.argv[1]), process_request=tell):
        await asyncio.Event().wait()
asyncio.run(main())
"""
# A command is one line and no shell reads it.
COMMAND = f"python -u -c 'exec({json.dumps(PROGRAM)})' {{port}} {{address}}"
Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """``cmbcluster`` as a person types it, with a home of its own."""

    def run(*arguments: str, typed: str = "", **surroundings: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CMB_")}
        kept |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        return subprocess.run(
            [sys.executable, "-m", "cmbcluster", *arguments],
            cwd=tmp_path,
            env=kept | surroundings,
            input=typed,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


def make_token(page: Page, up: Running, name: str, *scopes: str) -> str:
    """Make a token in Settings as a person does, and take it from the page."""
    page.goto(f"{up.url}/settings?tab=tokens")
    page.get_by_label("Name").fill(name)
    for scope in scopes:
        page.get_by_role("checkbox", name=scope).check()
    page.get_by_role("button", name="Make token").click()
    token = page.locator("#made-token").input_value()
    assert token.startswith("cmb_")
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#made-token")).to_have_count(0)
    assert token not in page.content()
    return token


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def told(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(ok(done))


def test_a_script_does_with_a_token_what_a_person_does_with_a_mouse(
    browser: Browser, up: Running, client: Client, tmp_path: Path
) -> None:
    context, page = sign_in(browser, up, "Ravi")
    token = make_token(page, up, "terminal", "Launch")

    assert client("ls").returncode == 3
    wrong = client("login", "--url", up.url, "--token-stdin", typed=token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert (wrong.returncode, "not valid" in wrong.stderr) == (3, True)
    assert "as Ravi Nair" in ok(client("login", "--url", up.url, "--token-stdin", typed=token + "\n"))
    (kept,) = (tmp_path / "config").rglob("client.json")
    assert kept.stat().st_mode & 0o777 == 0o600

    assert "cmb-explorer" in {row["id"] for row in told(client("apps", "--json"))}
    (tmp_path / "packages.txt").write_text("websockets\n")
    own = ("--requirements", "packages.txt", "--command", COMMAND)
    launched = client("launch", "custom", "--name", "scripted", "--hours", "1", *own, "--json")
    environment = told(launched)
    assert environment["phase"] == "running"
    assert environment["uptime_seconds"] == 3600
    assert [row["name"] for row in told(client("ls", "--json"))] == ["scripted"]
    assert "scripted" in ok(client("ls"))
    assert "websockets" in ok(client("show", "scripted"))
    assert ok(client("open", "scripted")).strip() == environment["address"] == up.host(environment["slug"])

    # As curl does: the address itself, with the token.
    reach_and_leave(up, environment["slug"], token)
    assert "greeted" in ok(client("logs", "scripted"))

    before = environment["deadline_at"]
    time.sleep(1.1)
    assert told(client("extend", "scripted", "--json"))["deadline_at"] > before
    with ThreadPoolExecutor() as beside:
        followed = beside.submit(client, "logs", "-f", "scripted")
        time.sleep(2)
        assert not followed.done()
        assert told(client("stop", "scripted", "--json"))["phase"] == "stopped"
        assert "greeted" in ok(followed.result(30))
    assert client("extend", "scripted").returncode == 1
    assert told(client("start", "scripted", "--json"))["phase"] == "running"
    for arguments, status in (
        (("show", "no-such"), 4),
        (("launch", "custom", "--name", "x y!"), 2),
        (("ls", "--x"), 2),
    ):
        refused = client(*arguments)
        assert refused.returncode == status, refused.stderr
        assert refused.stderr
        assert "Traceback" not in refused.stderr
    too_large = client("launch", "custom", "--name", "other", "--hours", "1000", *own)
    assert too_large.returncode == 5, too_large.stderr
    assert client("ls", CMB_URL="http://127.0.0.1:9").returncode == 3
    away = client("ls", CMB_URL="http://127.0.0.1:9", CMB_TOKEN=token)
    assert (away.returncode, "does not answer" in away.stderr) == (6, True)

    ends_with_the_token(page, up, client, environment["slug"], token)
    again = make_token(page, up, "afterwards", "Launch")
    ok(client("rm", "scripted", "--workspace", "--yes", CMB_URL=up.url, CMB_TOKEN=again))
    assert {row["phase"] for row in told(client("ls", "--json", CMB_URL=up.url, CMB_TOKEN=again))} <= {"deleting"}
    assert "Logged out" in ok(client("logout"))
    assert not kept.exists()
    assert token not in up.said()
    context.close()


def reach_and_leave(up: Running, slug: str, token: str) -> None:
    """The environment answers the owner's token and nobody else, and never sees it."""
    address = f"http://127.0.0.1:{up.port}/hello"
    host = {"Host": f"{slug}.localhost:{up.port}"}
    assert httpx.get(address, headers=host).status_code == 401
    reached = httpx.get(address, headers=host | {"Authorization": f"Bearer {token}"})
    assert reached.status_code == 200
    assert token not in reached.text
    assert "authorization" not in reached.text.lower()
    # As Jupyter's clients write it.
    assert httpx.get(address, headers=host | {"Authorization": f"token {token}"}).status_code == 200


def ends_with_the_token(page: Page, up: Running, client: Client, slug: str, token: str) -> None:
    """Revoked on the page: refused within two seconds everywhere, and what it has open ends."""
    address = f"http://127.0.0.1:{up.port}/"
    headers = {"Host": f"{slug}.localhost:{up.port}", "Authorization": f"Bearer {token}"}
    until = time.monotonic() + 10
    while httpx.get(address, headers=headers).status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    shown = {"Authorization": f"Bearer {token}"}
    there = socket.create_connection(("127.0.0.1", up.port))
    with connect(f"ws://{slug}.localhost:{up.port}/", additional_headers=shown, sock=there) as opened:
        opened.send("hello")
        assert opened.recv(10) == "hello"
        page.goto(f"{up.url}/settings?tab=tokens")
        page.get_by_role("button", name="Revoke terminal").click()
        page.get_by_role("button", name="Revoke token").click()
        expect(page.get_by_role("button", name="Revoke terminal")).to_have_count(0)
        revoked = time.monotonic()
        while httpx.get(address, headers=headers).status_code != 401:
            assert time.monotonic() - revoked < 2
            time.sleep(0.05)
        assert client("ls").returncode == 3
        with pytest.raises(ConnectionClosed):
            opened.recv(60)
        assert time.monotonic() - revoked < 60
