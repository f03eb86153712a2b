"""``helm install`` on a cluster that has nothing of ours, and then a browser, until it is inside an environment."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import launch_own, sign_in
from tests.e2e.test_day import Launched, opened, wait_running
from tests.install.conftest import Installed
from tests.install.release import ROLES, is_ready
from tests.kubernetes.cluster import needs

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.browser,
    pytest.mark.index,
    pytest.mark.timeout(900),
    needs("CMB_TEST_PLATFORM_IMAGE"),
]


def test_a_browser_ends_in_a_running_environment(browser: Browser, up: Installed) -> None:
    for role in ROLES:
        assert [is_ready(pod) for pod in up.release.pods(role)] == [True, True], role
    context, page = sign_in(browser, up, "Ada")
    command = "python -u -m http.server {port} --bind {address}"
    first = Launched(launch_own(page, up, name="first", requirements="idna", command=command), "first")
    wait_running(page, up, first)
    with opened(context, page) as inside:
        expect(inside.get_by_role("heading", name="Directory listing for /")).to_be_visible()
    page.locator("main").get_by_role("button", name="Stop", exact=True).first.click()
    expect(page.locator("main .phase").first).to_have_text("Stopped", timeout=60_000)
    context.close()
