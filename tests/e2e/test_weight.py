"""What Home weighs over the wire, as the edge sends it to an empty browser."""

from __future__ import annotations

from collections import Counter

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response

from tests.e2e.conftest import Running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

MOST_SCRIPT_BYTES = 200 * 1024
MOST_STYLE_BYTES = 20 * 1024


def test_home_is_light(browser: Browser, up: Running, elena: tuple[BrowserContext, Page]) -> None:
    fresh = browser.new_context(storage_state=elena[0].storage_state())
    page = fresh.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(up.url)
    page.get_by_role("heading", name="Home", exact=True).wait_for()
    page.wait_for_load_state("networkidle")
    weight: Counter[str] = Counter()
    for answer in answers:
        weight[answer.request.resource_type] += answer.request.sizes()["responseBodySize"]
    fresh.close()
    assert 0 < weight["script"] <= MOST_SCRIPT_BYTES
    assert 0 < weight["stylesheet"] <= MOST_STYLE_BYTES
