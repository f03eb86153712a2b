"""A researcher's day in a real browser, through the real edge, with the real applications."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.e2e.conftest import Running, sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.sandbox,
    pytest.mark.index,
    pytest.mark.applications,
    pytest.mark.timeout(900),
]

BUILD_MILLISECONDS = 420_000
OPEN_MILLISECONDS = 20_000
OPEN_TRIES = 3
APPLICATIONS = ("CMB explorer", "JupyterLab", "Denario", "CMBAgent")


@dataclass(frozen=True)
class Launched:
    """An environment launched through the dialog."""

    id: str
    name: str


def launch(page: Page, up: Running, application: str) -> Launched:
    """Launch an application from the catalogue, as a person does."""
    page.goto(f"{up.url}/catalogue")
    card = page.locator(".app-card", has_text=application)
    card.get_by_role("button", name=re.compile("Launch|Set up")).click()
    dialog = page.locator(".dlg")
    name = dialog.get_by_label("Name", exact=True).input_value()
    dialog.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url(re.compile(r"/environments/[0-9a-f-]{36}"))
    return Launched(page.url.rsplit("/", 1)[1].split("?")[0], name)


def wait_running(page: Page, up: Running, launched: Launched) -> None:
    """See the phase on the environment's page become *Running*, without reloading."""
    if launched.id not in page.url:
        page.goto(f"{up.url}/environments/{launched.id}")
    expect(page.locator("h1")).to_have_text(launched.name, timeout=60_000)
    expect(page.locator("main .phase").first).to_have_text(re.compile("Running|Failed"), timeout=BUILD_MILLISECONDS)
    assert page.locator("main .phase").first.inner_text() == "Running", page.locator("main").inner_text()


def open_tab(context: BrowserContext, page: Page) -> Page:
    """Click *Open*; once more when the new tab stays empty, as a person does where replicas are killed."""
    for _ in range(OPEN_TRIES):
        with context.expect_page() as opening:
            page.locator("main").get_by_role("link", name="Open", exact=True).click()
        tab = opening.value
        with suppress(PlaywrightTimeout):
            tab.wait_for_url(re.compile("^http"), timeout=OPEN_MILLISECONDS, wait_until="commit")
            return tab
        tab.close()
    raise AssertionError(f"the new tab stayed empty {OPEN_TRIES} times")


@contextmanager
def opened(context: BrowserContext, page: Page) -> Iterator[Page]:
    """Click *Open* and get the new tab, which is closed in any case."""
    tab = open_tab(context, page)
    try:
        yield tab
    finally:
        tab.close()


@pytest.fixture(scope="module")
def launched(elena: tuple[BrowserContext, Page], up: Running) -> dict[str, Launched]:
    """All applications launched one after the other, so that they build while tests look on."""
    _, page = elena
    return {application: launch(page, up, application) for application in APPLICATIONS}


def test_stages_go_by_and_the_explorer_answers_a_slider(
    elena: tuple[BrowserContext, Page], up: Running, launched: dict[str, Launched]
) -> None:
    context, page = elena
    page.goto(f"{up.url}/environments/{launched['CMB explorer'].id}")
    for stage in ("Queued", "Resolving", "Port 8501 answers"):
        expect(page.locator(".fall .st", has_text=stage)).to_be_visible(timeout=BUILD_MILLISECONDS)
    wait_running(page, up, launched["CMB explorer"])
    with opened(context, page) as explorer:
        assert re.match(r"http://cmb-explorer(-\d+)?-[a-z0-9]{6}\.localhost", explorer.url)
        move_a_slider(explorer)


def move_a_slider(explorer: Page) -> None:
    """See the plot of the CMB explorer follow one of its sliders."""
    expect(explorer.get_by_role("heading", name="CMB explorer")).to_be_visible(timeout=180_000)
    expect(explorer.locator(".cartesianlayer .js-line").first).to_be_attached(timeout=180_000)
    before = curves(explorer)
    slider = explorer.locator("[data-testid=stSlider] input[type=range]").first
    for _ in range(4):
        # Streamlit drops what is moved while it connects again; people move it once more.
        slider.press("ArrowRight")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if curves(explorer) != before:
                return
            explorer.wait_for_timeout(200)
    raise AssertionError("the plot did not follow the slider")


def curves(explorer: Page) -> str:
    """The paths of all curves in the plot."""
    return str(
        explorer.locator(".cartesianlayer .js-line").evaluate_all("ls => ls.map(l => l.getAttribute('d')).join()")
    )


def test_a_notebook_cell_runs_over_its_websocket(
    elena: tuple[BrowserContext, Page], up: Running, launched: dict[str, Launched]
) -> None:
    context, page = elena
    page.goto(f"{up.url}/environments/{launched['JupyterLab'].id}")
    wait_running(page, up, launched["JupyterLab"])
    with opened(context, page) as lab:
        run_cell(lab, "open('kept.txt', 'w').write('kept'); print(6 * 7)", "42")


def run_cell(lab: Page, code: str, answer: str) -> None:
    """Make a notebook with the launcher, run one cell, and read what it printed."""
    for _ in range(OPEN_TRIES):
        with suppress(PlaywrightTimeout):
            lab.wait_for_url(re.compile(r"/lab"), timeout=OPEN_MILLISECONDS, wait_until="commit")
            break
        # Where a replica was killed on the way in, its page says to reload it.
        lab.reload(wait_until="commit")
    assert "/lab" in lab.url, f"{lab.url} shows: {lab.locator('body').inner_text()[:500]}"
    lab.goto(lab.url.split("/lab")[0] + "/lab?reset", wait_until="commit")  # Not the tabs of the last visit.
    lab.locator(".jp-LauncherCard", has_text="ipykernel").first.click(timeout=90_000)
    cell = lab.locator(".jp-Notebook .jp-Cell .cm-content").first
    cell.click(timeout=60_000)
    cell.press_sequentially(code)
    expect(cell).to_have_text(code)
    printed = lab.locator(".jp-OutputArea-output").first
    for _ in range(12):
        # JupyterLab drops a run silently while its kernel is not connected yet; people press again.
        cell.press("Control+Enter")
        with suppress(AssertionError):
            expect(printed).to_have_text(answer, timeout=5_000)
            return
    expect(printed).to_have_text(answer)


def stop(page: Page) -> None:
    """Stop what the page shows, and see it stopped."""
    page.locator("main").get_by_role("button", name="Stop", exact=True).first.click()
    expect(page.locator("main .phase").first).to_have_text("Stopped", timeout=60_000)


def start(page: Page) -> None:
    """Start what the page shows."""
    page.locator("main").get_by_role("button", name=re.compile("^Start")).first.click()


def test_stop_and_start_again_keeps_the_file(
    elena: tuple[BrowserContext, Page], up: Running, launched: dict[str, Launched]
) -> None:
    context, page = elena
    page.goto(f"{up.url}/environments/{launched['JupyterLab'].id}")
    stop(page)

    slug = slug_of(context, up, launched["JupyterLab"])
    stopped = context.new_page()
    stopped.goto(up.host(slug))
    expect(stopped.locator("body")).to_contain_text("Start again")
    assert "502" not in stopped.inner_text("body")
    stopped.close()

    start(page)
    wait_running(page, up, launched["JupyterLab"])
    with opened(context, page) as lab:
        run_cell(lab, "print(open('kept.txt').read())", "kept")


@pytest.mark.parametrize("application", ["Denario", "CMBAgent"])
def test_the_agents_show_their_first_screen(
    elena: tuple[BrowserContext, Page], up: Running, launched: dict[str, Launched], application: str
) -> None:
    context, page = elena
    page.goto(f"{up.url}/environments/{launched[application].id}")
    wait_running(page, up, launched[application])
    with opened(context, page) as screen:
        screen.wait_for_url(re.compile(f"http://{launched[application].name}-"), wait_until="commit")
        expect(screen.locator("[data-testid=stApp] :is(h1, h2, h3)").first).to_be_visible(timeout=90_000)
        expect(screen.locator("[data-testid=stException]")).to_have_count(0)


def slug_of(context: BrowserContext, up: Running, launched: Launched) -> str:
    """The environment's own label, read from where the dashboard sends its owner."""
    answer = context.request.get(f"{up.url}/open/{launched.id}", max_redirects=0)
    return answer.headers["location"].split("//")[1].split(".")[0]


def _told(text: str, environment_id: str) -> str:
    """What an answer says, without the id that was asked for and the operation's own."""
    return re.sub(r"[0-9a-f]{16}", "operation", text.replace(environment_id, "environment"))


def test_another_person_gets_nowhere_by_any_address(
    browser: Browser, elena: tuple[BrowserContext, Page], up: Running, launched: dict[str, Launched]
) -> None:
    theirs = launched["CMB explorer"]
    slug = slug_of(elena[0], up, theirs)
    context, page = sign_in(browser, up, "Ada")
    missing = "01900000-0000-7000-8000-000000000000"
    for path in ("/open/{}", "/api/environments/{}/log?offset=0", "/api/environments/{}/log/download"):
        foreign = context.request.get(up.url + path.format(theirs.id), max_redirects=0)
        absent = context.request.get(up.url + path.format(missing), max_redirects=0)
        assert foreign.status == absent.status == 404, path
        assert _told(foreign.text(), theirs.id) == _told(absent.text(), missing), path
    page.goto(f"{up.url}/environments/{theirs.id}")
    expect(page.locator("main")).to_contain_text("There is no such environment, or it is not yours")
    assert theirs.name not in page.locator("main").inner_text()
    page.goto(up.host(slug))
    expect(page.locator("body")).to_contain_text("There is no such environment, or it is not yours")
    stranger = httpx.get(f"http://127.0.0.1:{up.port}/_stcore/health", headers={"host": f"{slug}.localhost:{up.port}"})
    assert stranger.status_code == 401
    context.close()
