"""The real platform for browser tests: ``cmbcluster up`` on a data folder and port of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests import browsers

playwright = browsers.playwright
browser = browsers.browser
ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 180
STOP_SECONDS = 90


@dataclass
class Running(ABC):
    """A platform that runs, wherever it does."""

    url: str
    port: int

    def host(self, slug: str) -> str:
        """URL of an environment's own host."""
        return f"http://{slug}.localhost:{self.port}"

    def enter(self, page: Page, person: str) -> None:
        """Sign in on the page that one sees first."""
        page.get_by_role("button", name=f"Sign in as {person}").click()

    def browser_options(self) -> dict[str, Any]:
        """What a browser must be told to get in."""
        return {}

    @abstractmethod
    def said(self) -> str:
        """All that it has printed."""


@dataclass
class Started(Running):
    """``cmbcluster up``: its data, its process and what it prints."""

    data: Path
    log: Path
    process: subprocess.Popen[bytes]

    def said(self) -> str:
        """The file that its output goes to."""
        return self.log.read_text()


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_tools() -> dict[str, str]:
    """Our environment, with the bun that ``make test`` fetched on the path."""
    tools = ROOT / ".tools" / "node_modules" / ".bin"
    return {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}


def start_platform(data: Path, port: int, module: str = "cmbcluster", **more: str) -> Started:
    """Run ``cmbcluster up`` (``more`` are settings) and wait until it says that it is ready."""
    settings = {"CMB_DATA_DIR": str(data), "CMB_PORT": str(port), "CMB_LOCAL_STOP_GRACE_SECONDS": "3"}
    environment = {**with_tools(), **settings, **more}
    log = data / "up-output.txt"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "up"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    url = f"http://localhost:{port}"
    # The edge knows the platform by its public name alone, when it has one.
    host = more.get("CMB_PUBLIC_URL", url).partition("://")[2]
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"up ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/healthz", timeout=2, headers={"Host": host}).status_code == 200:
                return Started(url, port, data, log, process)
        time.sleep(0.2)
    raise AssertionError(f"up was not ready in {READY_SECONDS} s:\n{log.read_text()[-4000:]}")


def stop_platform(running: Started) -> str:
    """Ctrl-C, as a person does; returns what was printed."""
    running.process.send_signal(signal.SIGINT)
    running.process.wait(STOP_SECONDS)
    return running.log.read_text()


@pytest.fixture(scope="package")
def platform_data() -> Iterator[Path]:
    """A data folder that the environments' account can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="cmb-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def up(platform_data: Path) -> Iterator[Running]:
    """One platform for all browser tests; its end must be clean."""
    running = start_platform(platform_data, free_port())
    yield running
    if running.process.poll() is None:
        stop_platform(running)


def sign_in(browser: Browser, up: Running, person: str, **more: Any) -> tuple[BrowserContext, Page]:
    """A browser of its own in which a test person has signed in and sees Home."""
    options = {**up.browser_options(), **more}
    context = browser.new_context(viewport={"width": 1400, "height": 900}, **options)
    page = context.new_page()
    page.goto(up.url)
    up.enter(page, person)
    page.get_by_role("heading", name="Home", exact=True).wait_for()
    return context, page


def launch_own(page: Page, up: Running, **typed: str) -> str:
    """Launch one's own application with this in the fields of the form; returns its id."""
    page.goto(f"{up.url}/catalogue")
    page.locator(".app-card", has_text="Your own application").get_by_role("button").click()
    dialog = page.locator(".dlg")
    for field, text in typed.items():
        dialog.locator(f"#f-{field}").fill(text)
    dialog.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"/environments/[0-9a-f-]{36}"))
    return page.url.rsplit("/", 1)[1].split("?")[0]


@pytest.fixture(scope="package")
def elena(browser: Browser, up: Running) -> Iterator[tuple[BrowserContext, Page]]:
    """Elena, premium, signed in for all tests."""
    context, page = sign_in(browser, up, "Elena")
    yield context, page
    context.close()
