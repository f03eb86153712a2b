"""The same product with its environments in pods: ``cmbcluster up`` over a real cluster, seen with a browser."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browsers import apart
from tests.e2e.conftest import Running, free_port, sign_in, start_platform, stop_platform
from tests.e2e.test_day import (
    BUILD_MILLISECONDS,
    Launched,
    launch,
    move_a_slider,
    opened,
    run_cell,
    start,
    stop,
    wait_running,
)
from tests.images.registries import PASSWORD, USERNAME, Served, basic_registry
from tests.kubernetes import registry
from tests.kubernetes.cluster import PYTHON, admin_of, make_namespace, remove_namespace, wanted
from tests.kubernetes.disturbing import undisturbed
from tests.kubernetes.mirror import mirrored

pytestmark = [pytest.mark.kubernetes, pytest.mark.browser, pytest.mark.index, pytest.mark.timeout(900)]

REPOSITORY = "team/sky"
WORDS = "An image of our own"
KINDS = ("pods", "persistentvolumeclaims", "secrets")
GONE_SECONDS = 90


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A registry with passwords, with an image that serves one page."""
    program = shutil.which("busybox")
    if program is None:
        absent = "needs a program for an image: apt-get install busybox-static"
        (pytest.fail if os.environ.get("CMB_REQUIRE_ALL") else pytest.skip)(absent)
    assert program is not None
    with basic_registry(tmp_path_factory.mktemp("registry")) as served:
        push_page(Path(program), served.url)
        yield served


def push_page(program: Path, url: str) -> None:
    """Push an image whose program serves one page."""
    files = {"bin/busybox": program.read_bytes(), "www/index.html": f"<h1>{WORDS}</h1>".encode()}
    command = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
    image = registry.Image(files, {"Entrypoint": command, "User": "1000"})
    registry.push(REPOSITORY, "amd64", image, tag="1.0", url=url)


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """A namespace of our own that Pod Security restricts, on a cluster that nobody disturbs."""
    with undisturbed():
        name = apart(make_namespace())
        yield name
        apart(remove_namespace(name))


@pytest.fixture(scope="module")
def pods_up(place: str, private: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The platform of one machine, whose environments are pods of the cluster."""
    folder = Path(tempfile.mkdtemp(prefix="cmb-e2e-", dir="/tmp"))
    folder.chmod(0o755)
    with mirrored(tmp_path_factory.mktemp("mirror")) as index_url:
        running = start_platform(
            folder,
            free_port(),
            CMB_RUNTIME="kubernetes",
            CMB_KUBERNETES_NAMESPACE=place,
            CMB_KUBERNETES_PACKAGES_BYTES=str(4 * 1024**3),
            CMB_KUBERNETES_STOP_GRACE_SECONDS="3",
            CMB_KUBERNETES_CPU_REQUEST_PERCENT="2",
            CMB_KUBERNETES_MEMORY_REQUEST_PERCENT="10",
            CMB_WORKSPACE_IMAGE=wanted("CMB_TEST_WORKSPACE_IMAGE"),
            CMB_WORKSPACE_PYTHON=PYTHON,
            CMB_PACKAGE_INDEX_URL=index_url,
            CMB_IMAGE_REGISTRIES=private.host,
            CMB_IMAGE_INTERNAL_REGISTRIES=private.host,
            CMB_IMAGE_HTTP_REGISTRIES=private.host,
        )
        try:
            yield running
        finally:
            if running.process.poll() is None:
                stop_platform(running)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def elena_of_pods(browser: Browser, pods_up: Running) -> Iterator[tuple[BrowserContext, Page]]:
    """Elena, signed in on the platform of the cluster."""
    context, page = sign_in(browser, pods_up, "Elena")
    yield context, page
    context.close()


def delete_with_workspace(page: Page, up: Running, launched: Launched) -> None:
    """Delete an environment and what it kept, as a person does."""
    page.goto(f"{up.url}/environments/{launched.id}")
    page.locator("main").get_by_role("button", name="Delete", exact=True).first.click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_text("Remove the workspace too").click()
    dialog.get_by_label(f"Type {launched.name} to confirm").fill(launched.name)
    dialog.get_by_role("button", name="Delete environment").click()


def left_of(place: str, launched: Launched) -> set[str]:
    """Names of objects in the cluster that belong to an environment."""

    async def look() -> set[str]:
        async with admin_of(place) as admin:
            found = [await admin.names(kind) for kind in KINDS]
        return {name for names in found for name in names if launched.name in name}

    names: set[str] = apart(look())
    return names


def wait_gone(place: str, launched: Launched) -> None:
    until = time.monotonic() + GONE_SECONDS
    while left := left_of(place, launched):
        assert time.monotonic() < until, left
        time.sleep(0.5)


def stage(page: Page, name: str) -> Locator:
    """A row of the launch's drawing."""
    return page.locator(".fall > *", has_text=name)


def launch_image(page: Page, up: Running, name: str, image: str) -> Launched:
    """Launch a container image as one's own application."""
    page.goto(f"{up.url}/catalogue")
    card = page.locator(".app-card", has_text="Your own application")
    card.get_by_role("button", name=re.compile("Launch|Set up")).click()
    dialog = page.locator(".dlg")
    dialog.get_by_label("Name", exact=True).fill(name)
    dialog.get_by_text("Container image", exact=True).click()
    dialog.get_by_label("Image", exact=True).fill(image)
    dialog.get_by_label("Start command").fill("")
    dialog.get_by_label("Port", exact=True).fill("8080")
    dialog.get_by_label("Health path", exact=True).fill("/")
    dialog.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"/environments/[0-9a-f-]{36}"))
    return Launched(page.url.rsplit("/", 1)[1].split("?")[0], name)


def enter_account(page: Page, up: Running, host: str) -> None:
    """Enter one's account at a registry, on the page for it."""
    page.goto(f"{up.url}/settings?tab=registries")
    form = page.get_by_role("form", name="New account")
    form.get_by_label("User name").fill(USERNAME)
    form.get_by_label("Password or token").fill(PASSWORD)
    form.get_by_role("button", name="Add account").click()
    expect(form.get_by_role("status")).to_have_text(f"{USERNAME} at {host} is kept.")


@pytest.fixture(scope="module")
def launched(elena_of_pods: tuple[BrowserContext, Page], pods_up: Running) -> dict[str, Launched]:
    """What is built of packages, launched one after the other, so that it is installed while tests look on."""
    _, page = elena_of_pods
    return {application: launch(page, pods_up, application) for application in ("CMB explorer", "JupyterLab")}


def test_stages_of_a_pod_go_by_and_the_explorer_answers_a_slider(
    elena_of_pods: tuple[BrowserContext, Page], pods_up: Running, launched: dict[str, Launched]
) -> None:
    context, page = elena_of_pods
    page.goto(f"{pods_up.url}/environments/{launched['CMB explorer'].id}")
    for name in ("Queued", "Resolving", "Scheduling", "Installing", "Port 8501 answers"):
        expect(page.locator(".fall .st", has_text=name)).to_be_visible(timeout=BUILD_MILLISECONDS)
    wait_running(page, pods_up, launched["CMB explorer"])
    expect(page.locator(".fall")).to_contain_text(re.compile(r"on [a-z0-9.-]+"))  # The node it was given.
    expect(page.locator("section", has=page.locator("#protection")).last).to_contain_text("Own pod")
    expect(page.locator("main")).not_to_contain_text("this machine")
    with opened(context, page) as explorer:
        assert re.match(r"http://cmb-explorer(-\d+)?-[a-z0-9]{6}\.localhost", explorer.url)
        move_a_slider(explorer)


def test_a_notebook_in_a_pod_keeps_its_file_until_the_workspace_goes(
    elena_of_pods: tuple[BrowserContext, Page], pods_up: Running, place: str, launched: dict[str, Launched]
) -> None:
    context, page = elena_of_pods
    page.goto(f"{pods_up.url}/environments/{launched['JupyterLab'].id}")
    wait_running(page, pods_up, launched["JupyterLab"])
    with opened(context, page) as lab:
        run_cell(lab, "open('kept.txt', 'w').write('kept'); print(6 * 7)", "42")
    stop(page)
    assert all(name.startswith("workspace-") for name in left_of(place, launched["JupyterLab"]))
    start(page)
    wait_running(page, pods_up, launched["JupyterLab"])
    with opened(context, page) as lab:
        run_cell(lab, "print(open('kept.txt').read())", "kept")
    for each in launched.values():
        page.goto(f"{pods_up.url}/environments/{each.id}")
        expect(page.locator("h1")).to_have_text(each.name)
        stop(page)
        delete_with_workspace(page, pods_up, each)
        wait_gone(place, each)


def test_a_private_image_runs_by_its_tag_with_an_account_entered_on_the_page(
    elena_of_pods: tuple[BrowserContext, Page], pods_up: Running, place: str, private: Served
) -> None:
    context, page = elena_of_pods
    image = f"{private.host}/{REPOSITORY}:1.0"

    refused = launch_image(page, pods_up, "refused", image)
    expect(page.locator("main .phase").first).to_have_text("Failed", timeout=BUILD_MILLISECONDS)
    expect(page.locator("main")).to_contain_text(f"{private.host} does not let us see {REPOSITORY}")

    enter_account(page, pods_up, private.host)

    sky = launch_image(page, pods_up, "sky", image)
    wait_running(page, pods_up, sky)
    expect(page.locator("main")).to_contain_text("sha256:")
    with opened(context, page) as tab:
        expect(tab.get_by_role("heading", name=WORDS)).to_be_visible(timeout=30_000)
    for each in (refused, sky):
        page.goto(f"{pods_up.url}/environments/{each.id}")
        expect(page.locator("h1")).to_have_text(each.name)
        if each is sky:
            stop(page)
        delete_with_workspace(page, pods_up, each)
        wait_gone(place, each)


def test_an_image_that_is_not_there_is_told_with_a_next_step(
    elena_of_pods: tuple[BrowserContext, Page], pods_up: Running, private: Served
) -> None:
    _, page = elena_of_pods
    launch_image(page, pods_up, "typo", f"{private.host}/{REPOSITORY}:9.9")
    expect(page.locator("main .phase").first).to_have_text("Failed", timeout=BUILD_MILLISECONDS)
    expect(page.locator("main")).to_contain_text(f"{private.host} has no {REPOSITORY}:9.9")
    expect(page.locator("main")).to_contain_text("Check its name and its tag.")
