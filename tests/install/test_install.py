"""``helm install`` on a cluster that has nothing of ours, and then a browser, until it is inside an environment."""

from __future__ import annotations

import ast

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


# Printed by a container of each role: who it is, what it may write, and whether anything is there that builds pages.
LOOK_AROUND = """
import os, shutil
def writable(folder):
    try:
        open(os.path.join(folder, "probe"), "w").close()
    except OSError:
        return False
    return True
print({
    "user": os.getuid(),
    "builds": [name for name in ("node", "bun", "npm", "npx", "gcc") if shutil.which(name)],
    "writable": [folder for folder in ("/", "/etc", "/opt/cmbcluster", os.getcwd()) if writable(folder)],
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
})
"""
# The controller alone speaks with the cluster for what it changes; web reads logs, events and metrics.
SPEAKS_WITH_THE_CLUSTER = ("web", "controller")


@pytest.mark.parametrize("role", ROLES)
def test_no_container_can_build_pages_or_write_outside_its_volumes(up: Installed, role: str) -> None:
    pod = up.release.pods(role)[0]["metadata"]["name"]
    found = ast.literal_eval(up.release.kubectl("exec", pod, "--", "python", "-c", LOOK_AROUND))
    assert found["user"] >= 1000
    assert found["builds"] == []
    assert found["writable"] == []
    assert found["token"] is (role in SPEAKS_WITH_THE_CLUSTER)


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
