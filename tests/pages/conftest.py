"""The built pages over the stage, served for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tests import browsers
from tests.e2e.conftest import ROOT, free_port, with_tools

playwright = browsers.playwright
browser = browsers.browser
START_SECONDS = 120
AXE = ROOT / ".tools" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="package")
def stage_url() -> Iterator[str]:
    """Address of the pages; their environments are in their last minutes."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.web.serving", str(port), "ending"], cwd=ROOT, env=with_tools()
    )
    url = f"http://localhost:{port}"
    try:
        _wait(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="package")
def axe() -> str:
    """The source of axe-core."""
    if not AXE.exists():
        absent = "needs axe-core: make test fetches it where npm is"
        (pytest.fail if os.environ.get("CMB_REQUIRE_ALL") else pytest.skip)(absent)
    return AXE.read_text()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    answered = "nothing"
    while time.monotonic() < until:
        assert server.poll() is None, "the stage ended before it answered"
        try:
            status = httpx.get(f"{url}/healthz", timeout=2).status_code
            if status == 200:
                return
            answered = f"{status}"
        except httpx.HTTPError as error:
            answered = repr(error)
        time.sleep(0.2)
    raise AssertionError(f"the stage is not well after {START_SECONDS} s: {answered}")
