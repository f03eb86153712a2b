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
