"""``helm install`` on a cluster that has nothing of ours, and then a browser, until it is inside an environment."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import sign_in
from tests.e2e.test_day import Launched, opened, wait_running
from tests.install.conftest import Installed
from tests.install.release import ROLES, is_ready

pytestmark = [pytest.mark.kubernetes, pytest.mark.browser, pytest.mark.index, pytest.mark.timeout(900)]


def test_a_browser_ends_in_a_running_environment(browser: Browser, up: Installed) -> None:
    for role in ROLES:
        assert [is_ready(pod) for pod in up.release.pods(role)] == [True, True], role
    context, page = sign_in(browser, up, "Ada")
    page.goto(f"{up.url}/catalogue")
    card = page.locator(".app-card", has_text="Your own application")
    card.get_by_role("button", name=re.compile("Launch|Set up")).click()
    dialog = page.locator(".dlg")
    typed = {
        "name": "first",
        "requirements": "idna",
        "command": "python -u -m http.server {port} --bind {address}",
        "port": "8501",
    }
    for field, text in typed.items():
        dialog.locator(f"#f-{field}").fill(text)
    dialog.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"/environments/[0-9a-f-]{36}"))
    first = Launched(page.url.rsplit("/", 1)[1].split("?")[0], "first")
    wait_running(page, up, first)
    with opened(context, page) as inside:
        expect(inside.get_by_role("heading", name="Directory listing for /")).to_be_visible()
    page.locator("main").get_by_role("button", name="Stop", exact=True).first.click()
    expect(page.locator("main .phase").first).to_have_text("Stopped", timeout=60_000)
    context.close()
