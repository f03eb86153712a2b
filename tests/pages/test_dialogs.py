"""The launch dialog in a browser: what was typed is not lost by a key, and nothing of an earlier one comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def page(browser: Browser, stage_url: str) -> Iterator[Page]:
    """Elena's browser."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_cookies([{"name": "cmb_session", "value": "elena", "url": stage_url}])
    yield context.new_page()
    context.close()


def test_esc_asks_before_it_loses_what_was_typed(page: Page, stage_url: str) -> None:
    page.goto(f"{stage_url}/catalogue?launch=custom")
    dialog = page.locator(".dlg")
    dialog.locator("[name=requirements]").fill("healpy")
    page.keyboard.press("Escape")
    expect(dialog.get_by_text("Press Esc again to close this and lose what you typed.")).to_be_visible()
    expect(dialog.locator("[name=requirements]")).to_have_value("healpy")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_esc_closes_at_once_what_nobody_touched(page: Page, stage_url: str) -> None:
    page.goto(f"{stage_url}/catalogue?launch=denario")
    expect(page.locator(".dlg h2")).to_have_text("Launch Denario")
    page.keyboard.press("Escape")
    expect(page.locator(".dlg")).to_have_count(0)


def test_another_application_begins_with_its_own_name(page: Page, stage_url: str) -> None:
    page.goto(f"{stage_url}/catalogue?launch=denario")
    expect(page.locator(".dlg [name=name]")).to_have_value("denario")
    page.goto(f"{stage_url}/catalogue?launch=custom")
    expect(page.locator(".dlg h2")).to_have_text("Launch your own application")
    expect(page.locator(".dlg [name=name]")).not_to_have_value("denario")


def test_a_dialog_left_open_does_not_come_back_by_itself(page: Page, stage_url: str) -> None:
    page.goto(f"{stage_url}/catalogue")
    page.locator(".app-card", has_text="Denario").get_by_role("button", name="Launch").click()
    expect(page.locator(".dlg")).to_be_visible()
    page.goto(f"{stage_url}/environments")
    page.goto(f"{stage_url}/catalogue")
    expect(page.locator(".app-card").first).to_be_visible()
    page.wait_for_timeout(600)
    expect(page.locator(".dlg")).to_have_count(0)


@pytest.fixture
def miras(browser: Browser, stage_url: str) -> Iterator[Page]:
    """The browser of Mira, whose platform runs images."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_cookies([{"name": "cmb_session", "value": "mira", "url": stage_url}])
    yield context.new_page()
    context.close()


def test_choosing_an_image_and_packages_again_loses_nothing(miras: Page, stage_url: str) -> None:
    miras.goto(f"{stage_url}/catalogue?launch=custom")
    dialog = miras.locator(".dlg")
    packages, image = dialog.locator("[name=requirements]"), dialog.locator("[name=image]")
    expect(image).to_be_hidden()
    packages.fill("healpy")
    dialog.get_by_text("Container image").click()
    expect(packages).to_be_hidden()
    expect(dialog.locator("[name=python]")).to_be_hidden()
    image.fill("Team/App")
    dialog.get_by_role("button", name="Launch").click()
    expect(dialog.locator("#image-error")).to_contain_text("no capital letters")
    expect(image).to_be_focused()
    expect(dialog.locator("#requirements-error")).to_have_count(0)
    dialog.get_by_text("Python packages").click()
    expect(packages).to_have_value("healpy")
    dialog.get_by_text("Container image").click()
    expect(image).to_have_value("Team/App")


def test_an_account_at_a_registry_is_added_and_removed_in_the_page(miras: Page, stage_url: str) -> None:
    asked: list[str] = []
    miras.on("request", lambda request: asked.append(request.url))
    frames: list[str] = []
    miras.on("websocket", lambda socket: socket.on("framesent", lambda data: frames.append(str(data))))
    miras.goto(f"{stage_url}/settings?tab=registries")
    form = miras.get_by_role("form", name="New account")
    form.get_by_label("Registry").select_option("quay.io")
    form.get_by_label("Password or token").fill("the-secret-word")
    form.get_by_role("button", name="Add account").click()
    expect(form.locator("#registry-username-error")).to_contain_text("There is no user name.")
    expect(form.get_by_label("Password or token")).to_have_value("the-secret-word")
    form.get_by_label("User name").fill("mira-q")
    form.get_by_role("button", name="Add account").click()
    expect(form.get_by_role("status")).to_have_text("mira-q at quay.io is kept.")
    expect(form.get_by_label("Password or token")).to_have_value("")
    row = miras.locator("li", has_text="quay.io")
    expect(row).to_contain_text("mira-q")
    row.get_by_role("button", name="Remove").click()
    miras.get_by_role("button", name="Remove account").click()
    expect(miras.locator("li", has_text="quay.io")).to_have_count(0)
    assert frames
    assert not any("the-secret-word" in text for text in (*asked, *frames))
