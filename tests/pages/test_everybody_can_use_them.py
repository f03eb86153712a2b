"""axe-core finds nothing on any page, and none scrolls sideways: light and dark, wide and on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.scenes import SHOTS, WIDTHS, Shot, problems

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def open_scene(page: Page, url: str, shot: Shot) -> None:
    """Go there and wait until the page shows what it is about."""
    page.goto(url + shot.path)
    expect(page.locator("h1").first).to_be_visible()
    expect(page.locator(".skel")).to_have_count(0)
    for pressed in shot.press:
        page.keyboard.press(pressed)
        page.wait_for_timeout(120)
    # Drawers and dialogs come in by a short movement.
    page.wait_for_timeout(250)


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_no_page_keeps_anybody_out(browser: Browser, stage_url: str, axe: str, shot: Shot) -> None:
    wide, high, _ = WIDTHS[""]
    context = browser.new_context(viewport={"width": wide, "height": high}, reduced_motion="reduce")
    if shot.person:
        context.add_cookies([{"name": "cmb_session", "value": shot.person, "url": stage_url}])
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    found: list[str] = []
    try:
        open_scene(page, stage_url, shot)
        for name, (width, height, _scale) in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.wait_for_timeout(150)
                found += [f"{theme}{name}: {problem}" for problem in problems(page, axe)]
    finally:
        context.close()
    assert found + errors == []


def test_what_it_looks_for_can_be_found(browser: Browser, axe: str) -> None:
    page = browser.new_page()
    page.set_content("<main><h1>x</h1><img src='x.png'><p style='width:5000px;color:#ccc'>pale</p></main>")
    told = " ".join(problems(page, axe))
    page.close()
    assert "image-alt" in told
    assert "color-contrast" in told
    assert "sideways" in told
