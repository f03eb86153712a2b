"""The end of a session on screen: warned of, put off, and what was typed is there after signing in again."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Running, free_port, sign_in, start_platform, stop_platform

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

IDLE_SECONDS = 25
WARNING = "You will be signed out in"
ENDED = "Your session has ended."


@pytest.fixture(scope="module")
def short() -> Iterator[Running]:
    """A platform whose sessions end after a few seconds without activity."""
    folder = Path(tempfile.mkdtemp(prefix="cmb-short-"))
    folder.chmod(0o755)
    running = start_platform(folder, free_port(), CMB_SESSION_IDLE_SECONDS=str(IDLE_SECONDS))
    yield running
    stop_platform(running)
    shutil.rmtree(folder, ignore_errors=True)


def type_a_name(page: Page, url: str) -> None:
    page.goto(f"{url}/settings")
    field = page.locator("main input[name=name]")
    field.click()
    field.fill("Half typed")


def come_back(page: Page, person: str) -> None:
    page.get_by_role("button", name=f"Sign in as {person}").click()
    page.wait_for_url(re.compile(r"/settings/?$"))
    expect(page.locator("main input[name=name]")).to_have_value("Half typed")


def test_somebody_who_is_there_stays_signed_in(browser: Browser, short: Running) -> None:
    context, page = sign_in(browser, short, "Ada")
    expect(page.get_by_text(WARNING)).to_be_visible()
    with page.expect_response(lambda r: r.url.endswith("/auth/standing") and r.request.method == "POST") as told:
        page.get_by_role("button", name="Stay signed in").click()
    assert told.value.status == 200
    assert told.value.json()["ends_in_seconds"] > IDLE_SECONDS - 5
    context.close()


def test_nobody_there_is_signed_out_and_what_was_typed_is_kept(browser: Browser, short: Running) -> None:
    context, page = sign_in(browser, short, "Elena")
    type_a_name(page, short.url)
    page.get_by_text(ENDED).wait_for(timeout=(IDLE_SECONDS + 30) * 1000)
    come_back(page, "Elena")
    context.close()


def test_a_session_ended_elsewhere_leaves_at_once_and_what_was_typed_is_kept(browser: Browser, short: Running) -> None:
    here, page = sign_in(browser, short, "Ravi")
    type_a_name(page, short.url)
    there, other = sign_in(browser, short, "Ravi")
    other.goto(f"{short.url}/settings?tab=sessions")
    other.get_by_role("button", name="End all others").click()
    page.get_by_text(ENDED).wait_for(timeout=10_000)
    come_back(page, "Ravi")
    here.close()
    there.close()
