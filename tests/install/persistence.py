"""Signing in and launching where replicas are killed: who gets no answer looks what became of it, and tries again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from playwright.sync_api import BrowserContext, Page
from playwright.sync_api import Error as BrowserError

from tests.e2e.conftest import Running
from tests.e2e.test_day import APPLICATIONS, Launched, launch

TRIES = 3
LOOK_MILLISECONDS = 15_000


def launched_already(page: Page, up: Running, name: str) -> Launched | None:
    """The environment of that name, when the list has one."""
    try:
        page.goto(f"{up.url}/environments")
        link = page.get_by_role("link", name=name, exact=True).first
        link.wait_for(timeout=LOOK_MILLISECONDS)
        href = link.get_attribute("href") or ""
    except BrowserError:
        return None
    return Launched(href.rsplit("/", 1)[1], name)


def persistently(page: Page, up: Running, name: str, ask: Callable[[], Launched]) -> Launched:
    """Launch it once, however often that has to be asked for."""
    for _ in range(TRIES - 1):
        try:
            return ask()
        except BrowserError:
            there = launched_already(page, up, name)
            if there is not None:
                return there
    return ask()


def with_patience(do: Callable[[], None]) -> None:
    """What may be done twice without harm."""
    for _ in range(TRIES - 1):
        with suppress(BrowserError, AssertionError):
            return do()
    return do()


@pytest.fixture(scope="module")
def launched(elena: tuple[BrowserContext, Page], up: Running) -> dict[str, Launched]:
    """All applications launched one after the other, as in ``tests.e2e.test_day``."""
    _, page = elena
    names = {application: application.lower().replace(" ", "-") for application in APPLICATIONS}
    return {each: persistently(page, up, name, partial(launch, page, up, each)) for each, name in names.items()}
