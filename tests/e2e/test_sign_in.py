"""Signing in at a provider in a real browser, through the real edge, and out again."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.e2e.conftest import ROOT, Started, free_port, start_platform, stop_platform
from tests.oidc.served import CLIENT_ID, CLIENT_SECRET, Served, serve
from tests.web.scenes import problems

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@dataclass
class Place:
    """A platform whose people come from two providers, which are one program here."""

    up: Started
    provider: Served


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A platform of its own, since the others of this folder sign in test people."""
    data, port = Path(tempfile.mkdtemp(prefix="cmb-oidc-")), free_port()
    data.chmod(0o755)
    callbacks = [f"http://localhost:{port}/auth/{each}/callback" for each in ("lab", "google")]
    with serve(*callbacks) as provider:
        lab = {
            "id": "lab", "name": "Planck Lab", "issuer": provider.issuer, "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET, "allowed": {"domains": ["example.com"]},
        }  # fmt: skip
        google = {**lab, "id": "google", "name": "Google", "preset": "google"}
        up = start_platform(
            data, port, CMB_OIDC_PROVIDERS=json.dumps([lab, google]), CMB_CONTACT="Ada (ada@example.com)"
        )
        yield Place(up, provider)
        if up.process.poll() is None:
            said = stop_platform(up)
            assert CLIENT_SECRET not in said
            assert "Traceback" not in said
    shutil.rmtree(data, ignore_errors=True)


def barrier_free(page: Page) -> None:
    """Nobody is kept out of what the page shows now, on a phone neither."""
    source = ROOT / ".tools" / "node_modules" / "axe-core" / "axe.min.js"
    axe = source.read_text() if source.exists() else ""
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert problems(page, axe) == []


def card(page: Page, name: str) -> Locator:
    """The card with this heading."""
    return page.locator(".card", has=page.locator(f"#{name}"))


def sign_in(page: Page, place: Place, login: str, button: str = "Sign in with Planck Lab") -> None:
    """Press our button and fill in the provider's form."""
    page.get_by_role("button", name=button).click()
    page.get_by_label("Login").fill(login)
    page.get_by_label("Password").fill(f"{login}-pw")
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_in_by_a_button_and_out_again(browser: Browser, place: Place) -> None:
    context = browser.new_context()
    page = context.new_page()
    wrong: list[str] = []

    def listen(line: ConsoleMessage) -> None:
        # The provider's own pages are not ours to mend.
        if line.type == "error" and not line.location["url"].startswith(place.provider.issuer):
            wrong.append(f"{line.location['url']} {line.text}")

    page.on("console", listen)
    page.goto(place.up.url)
    buttons = page.locator("form.sign button")
    expect(buttons).to_have_text([re.compile("Sign in with Planck Lab"), re.compile("Sign in with Google")])
    barrier_free(page)
    assert "go" in (buttons.first.get_attribute("class") or "").split()
    sign_in(page, place, "alice")
    page.get_by_role("heading", name="Home", exact=True).wait_for()
    assert page.url.rstrip("/") == place.up.url
    cookies = {cookie["name"]: cookie for cookie in context.cookies(place.up.url)}
    assert all(cookies[name]["httpOnly"] for name in ("cmb_sign_in", "cmb_session"))
    # The address the provider sent us back to works once; who is signed in is not disturbed.
    page.goto(f"{place.up.url}/settings")
    expect(card(page, "accounts")).to_contain_text("Planck Lab")
    expect(card(page, "accounts")).to_contain_text("alice@example.com")
    expect(card(page, "you")).to_contain_text("Researcher")
    expect(page.get_by_role("button", name="Link Google")).to_be_visible()
    barrier_free(page)
    page.locator("main").get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with Planck Lab").wait_for()
    page.goto(f"{place.up.url}/settings")
    page.get_by_role("button", name="Sign in with Planck Lab").wait_for()
    assert wrong == []
    context.close()


def test_linking_the_other_account_from_the_settings(browser: Browser, place: Place) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(place.up.url)
    sign_in(page, place, "bob")
    page.get_by_role("heading", name="Home", exact=True).wait_for()
    page.goto(f"{place.up.url}/settings")
    # The provider knows who this browser is by now, and asks which account with Google's hint.
    page.get_by_role("button", name="Link Google").click()
    page.get_by_label("Login").fill("bob")
    page.get_by_label("Password").fill("bob-pw")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(card(page, "accounts")).to_contain_text("Google")
    expect(page.get_by_role("button", name="Link Google")).to_have_count(0)
    context.close()


def test_somebody_who_may_not_enter_reads_whom_to_ask(browser: Browser, place: Place) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{place.up.url}/catalogue")
    sign_in(page, place, "carol")
    expect(page.locator("h1")).to_have_text("carol@other.example at Planck Lab may not use this platform")
    expect(page.locator("main")).to_contain_text("Ask Ada (ada@example.com)")
    barrier_free(page)
    page.get_by_role("link", name="Go to the front page").click()
    page.get_by_role("button", name="Sign in with Planck Lab").wait_for()
    context.close()
