"""The machine's own Chromium, for the folders whose tests look at pages.

The fixtures live as long as one folder's tests and no longer: Playwright keeps an event loop
running, beside which the asynchronous tests of other folders could not run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright without its pytest plugin, since the browser is the machine's own."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The machine's Chromium."""
    path = os.environ.get("CMB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
    yield opened
    opened.close()


def apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Do something asynchronous in a thread: Playwright keeps a loop of its own in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
