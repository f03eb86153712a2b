"""Every pod of the installed platform is replaced, as ``helm upgrade`` does it, while programs use it."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import sign_in
from tests.install.conftest import Installed
from tests.install.release import CHART, RELEASE, ROLES, Json, run
from tests.kubernetes.cluster import needs

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.browser,
    pytest.mark.index,
    pytest.mark.timeout(900),
    needs("CMB_TEST_PLATFORM_IMAGE"),
]

# Keeps its connections, as most servers do.
PROGRAM = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"here")
    do_POST = do_GET
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
"""
COMMAND = f"python -u -c 'exec({json.dumps(PROGRAM)})' {{address}} {{port}}"
OWN = {"application": "custom", "name": "rolling", "custom": {"requirements": "idna", "command": COMMAND}}
PAUSE_SECONDS = 0.1
RUNS_SECONDS = 300
ROLL_SECONDS = 400
LIVE_MILLISECONDS = 60_000


Asked = tuple[str, str, dict[str, str]]  # method, path, headers


@dataclass
class Load:
    """Requests all the time and what became of them."""

    up: Installed
    token: str
    cookie: str
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)

    def client(self) -> httpx.Client:
        """A script with a token."""
        return httpx.Client(base_url=self.up.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)

    def go_round(self, client: httpx.Client, *asked: Asked) -> None:
        """Each in turn; anything but 200 is kept."""
        for method, path, headers in asked:
            begun = time.monotonic()
            content = b"{}" if method == "POST" else None
            try:
                answer = client.request(method, path, headers=headers, content=content)
                said = str(answer.status_code)
            except httpx.HTTPError as failed:
                said = repr(failed)
            self.answers[f"{method} {path} {said}"] += 1
            if said != "200":
                at, took = begun - self.since, time.monotonic() - begun
                self.wrong.append(f"{method} {path}: {said} at {at:.1f} s, took {took:.1f} s")

    def by_kept_connections(self, *asked: Asked) -> None:
        """Until it is over."""
        with self.client() as client:
            while not self.over.wait(PAUSE_SECONDS):
                self.go_round(client, *asked)

    def by_new_connections(self, *asked: Asked) -> None:
        """Until it is over."""
        while not self.over.wait(PAUSE_SECONDS):
            with self.client() as client:
                self.go_round(client, *asked)

    @contextmanager
    def going_on(self, host: str) -> Iterator[None]:
        """While the block runs."""
        with ThreadPoolExecutor() as threads:
            page: Asked = ("GET", "/", {})
            api: Asked = ("GET", "/api/v1/environments", {})
            standing = ("GET", "/auth/standing", {"Cookie": self.cookie})
            look, change = ("GET", "/hello", {"Host": host}), ("POST", "/hello", {"Host": host})
            working = [
                threads.submit(self.by_kept_connections, page, api),
                threads.submit(self.by_kept_connections, look, change),
                threads.submit(self.by_kept_connections, standing, change),
                threads.submit(self.by_new_connections, page, look, change),
            ]
            try:
                yield
            finally:
                self.over.set()
        for each in working:
            each.result()


def launched(client: httpx.Client, name: str) -> str:
    """The id of an environment that was asked for."""
    made = client.post("/api/v1/environments", json=OWN | {"name": name})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


@contextmanager
def environment(load: Load) -> Iterator[str]:
    """The host of an environment that runs; it is gone afterwards."""
    with load.client() as client:
        which = f"/api/v1/environments/{launched(client, 'rolling')}"
        seen = until_phase(client, which, "running")
        yield urlsplit(str(seen["address"])).netloc
        stopped(client, which)
        assert client.delete(which).status_code == 204


def stopped(client: httpx.Client, which: str) -> None:
    """Stop it, and see it stopped."""
    assert client.post(f"{which}/stop").status_code == 200
    until_phase(client, which, "stopped")


def until_phase(client: httpx.Client, which: str, phase: str) -> Json:
    """What is said of it once it is so far."""
    end = time.monotonic() + RUNS_SECONDS
    while True:
        seen: Json = client.get(which).json()
        if seen["phase"] == phase:
            return seen
        assert time.monotonic() < end, seen
        time.sleep(1)


def pods(up: Installed) -> set[str]:
    """The names of all pods of the platform, those too that are about to go."""
    selector = ",".join(ROLES)
    words = ("get", "pods", "--selector", f"app.kubernetes.io/component in ({selector})", "--output", "name")
    return set(up.release.kubectl(*words).split())


def until_gone(up: Installed, names: set[str]) -> None:
    """Return when none of them is left."""
    end = time.monotonic() + ROLL_SECONDS
    while left := names & pods(up):
        assert time.monotonic() < end, left
        time.sleep(1)


def test_no_request_fails_while_every_pod_is_replaced(browser: Browser, up: Installed) -> None:
    # Hers may be two at once.
    context, page = sign_in(browser, up, "Elena")
    asked = {"name": "rolling", "scopes": ["read", "launch"], "days": 7}
    made = page.request.post(f"{up.url}/api/tokens", data=asked, headers={"Origin": up.url})
    assert made.status == 201, made.text()
    token = str(made.json()["token"])
    cookie = "; ".join(f"{each['name']}={each['value']}" for each in context.cookies(up.url))
    load = Load(up, token, cookie)
    before = pods(up)
    with environment(load) as host, load.client() as client, load.going_on(host):
        load.since = time.monotonic()
        time.sleep(2)
        # A launch that one controller begins and another ends, and its page, which is not loaded again.
        begun = launched(client, "under-way")
        page.goto(f"{up.url}/environments/{begun}")
        changed = ("--reuse-values", "--set", "podAnnotations.rolled=again", "--wait", f"--timeout={ROLL_SECONDS}s")
        words = ("upgrade", RELEASE, str(CHART), "--namespace", up.release.namespace, *changed)
        run("helm", *words, seconds=ROLL_SECONDS + 30)
        # Those that were told to end do so for some time yet.
        until_gone(up, before)
        expect(page.locator("main .phase").first).to_have_text("Running", timeout=LIVE_MILLISECONDS)
        stopped(client, f"/api/v1/environments/{begun}")
        expect(page.locator("main .phase").first).to_have_text("Stopped", timeout=LIVE_MILLISECONDS)
        assert client.delete(f"/api/v1/environments/{begun}").status_code == 204
    context.close()
    print(f"{dict(load.answers)} in {time.monotonic() - load.since:.0f} s")
    assert not load.wrong, "\n".join(load.wrong)
