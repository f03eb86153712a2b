"""A container image of one's own, from a registry with passwords, on the installed platform; ``test_suite`` runs it.

The registry is one of this machine, at the node's address, so that pods and the node call it by one name.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import Running
from tests.e2e.test_cluster import REPOSITORY, WORDS, delete_with_workspace, enter_account, launch_image, push_page
from tests.e2e.test_day import opened, start, stop, wait_running
from tests.install.conftest import Installed
from tests.install.persistence import persistently, with_patience
from tests.kubernetes.cluster import wanted

# Its first and its last four digits.
DIGEST = re.compile("^sha256:[0-9a-f]{4}…[0-9a-f]{4}$")


@contextmanager
def pulled_over_http(host: str) -> Iterator[None]:
    """Let the node's containerd ask that registry without TLS, as it does with those of its own machine alone."""
    folder = Path(wanted("CMB_TEST_KUBELET_PID")).with_name("registries") / host
    folder.mkdir(parents=True)
    try:
        # Without a table of hosts it does not read the file, and asks by TLS.
        (folder / "hosts.toml").write_text(
            f'server = "http://{host}"\n\n[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n'
        )
        yield
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(up: Installed) -> Iterator[str]:
    """An image that serves one page, by its tag."""
    program = shutil.which("busybox")
    if program is None:
        absent = "needs a program for an image: apt-get install busybox-static"
        (pytest.fail if os.environ.get("CMB_REQUIRE_ALL") else pytest.skip)(absent)
    assert program is not None
    push_page(Path(program), up.registry.url)
    with pulled_over_http(up.addresses.registry):
        yield f"{up.addresses.registry}/{REPOSITORY}:1.0"


def digest_on(page: Page, up: Running, identity: str) -> str:
    """The digest that an environment's page names among its facts; of its first launch a stage names it as well."""
    page.goto(f"{up.url}/environments/{identity}")
    shown = page.locator("main").get_by_text(DIGEST).first
    expect(shown).to_be_visible()
    return shown.inner_text()


def test_an_image_of_ones_own_runs_by_its_tag_and_starts_again_by_its_digest(
    elena: tuple[BrowserContext, Page], up: Installed, image: str
) -> None:
    context, page = elena
    with_patience(partial(enter_account, page, up, up.addresses.registry))
    sky = persistently(page, up, "sky", partial(launch_image, page, up, "sky", image))
    wait_running(page, up, sky)
    digest = digest_on(page, up, sky.id)
    with opened(context, page) as tab:
        expect(tab.get_by_role("heading", name=WORDS)).to_be_visible()
    stop(page)
    # Whatever the tag leads to by now, a start runs the same bytes.
    start(page)
    wait_running(page, up, sky)
    assert digest_on(page, up, sky.id) == digest
    stop(page)
    delete_with_workspace(page, up, sky)
