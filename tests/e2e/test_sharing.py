"""Sharing in two real browsers: shared by name, opened from Home, worked in, withdrawn while open."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Running, sign_in
from tests.e2e.test_script import COMMAND, Client, client, make_token, ok, told

__all__ = ["client"]
pytestmark = [pytest.mark.browser, pytest.mark.sandbox, pytest.mark.index, pytest.mark.timeout(400)]
SEEN = "new Promise(done => { const s = new WebSocket(location.origin.replace('http', 'ws')); window.mine = s; "
SEEN += (
    "s.onopen = () => s.send('hello'); s.onmessage = m => done(m.data); s.onclose = () => { window.ended = true } })"
)


def until_true(what: Callable[[], bool], seconds: float) -> float:
    """How long it took to become true; an assertion when it took longer."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds
        time.sleep(0.1)
    return time.monotonic() - begun


def test_a_guest_works_in_it_until_the_owner_withdraws(
    browser: Browser, up: Running, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    owners, page = sign_in(browser, up, "Elena")
    token = make_token(page, up, "for sharing", "Launch")
    requirements = tmp_path_factory.mktemp("shared") / "packages.txt"
    requirements.write_text("websockets\n")
    surroundings = {"CMB_URL": up.url, "CMB_TOKEN": token}
    own = ("--requirements", str(requirements), "--command", COMMAND, "--json")
    environment = told(client("launch", "custom", "--name", "between-us", "--hours", "1", *own, **surroundings))
    assert environment["phase"] == "running"

    guests, home = sign_in(browser, up, "Ravi")
    expect(home.get_by_role("heading", name="Shared with you")).to_have_count(0)
    share(page, up, environment["id"])
    # It comes to the guest's Home by itself.
    card = home.locator("section", has=home.get_by_role("heading", name="Shared with you"))
    expect(card).to_contain_text("between-us")
    expect(card).to_contain_text("shared by Elena Marchetti")
    with guests.expect_page() as opening:
        card.get_by_role("link", name="Open").click()
    inside = opening.value
    inside.wait_for_url(re.compile(re.escape(up.host(environment["slug"]))))
    headers = json.loads(inside.locator("body").inner_text())
    assert "cmb_" not in json.dumps(headers)
    assert "Ravi" not in json.dumps(headers)
    assert inside.evaluate(SEEN) == "hello"

    page.goto(f"{up.url}/environments/{environment['id']}?tab=activity")
    expect(page.locator("main")).to_contain_text("Ravi Nair opened between-us")
    home.goto(f"{up.url}/environments/{environment['id']}")
    expect(home.locator("main")).to_contain_text("not yours")
    home.goto(up.url)
    expect(card).to_be_visible()

    page.goto(f"{up.url}/environments/{environment['id']}?tab=settings")
    page.get_by_role("button", name="Withdraw from Ravi Nair").click()
    expect(page.get_by_role("button", name="Withdraw from Ravi Nair")).to_have_count(0)
    refused = until_true(lambda: inside.evaluate("fetch('/').then(r => r.status)") == 404, 2)
    closed = until_true(lambda: bool(inside.evaluate("window.ended === true")), 60)
    expect(card).to_have_count(0)
    inside.reload()
    expect(inside.locator("body")).to_contain_text("There is no such environment, or it is not yours")
    print(f"refused after {refused:.1f} s, WebSocket closed after {closed:.1f} s")
    ok(client("rm", "between-us", "--workspace", "--yes", **surroundings))
    guests.close()
    owners.close()


def share(page: Page, up: Running, environment_id: str) -> None:
    """Share with Ravi by his address; a mistyped one first."""
    page.goto(f"{up.url}/environments/{environment_id}?tab=settings")
    field = page.get_by_label("E-mail address or name")
    field.fill("ravy@example.org")
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_text("Nobody was found under that address or name.")).to_be_visible()
    field.fill("ravi@example.org")
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_role("button", name="Withdraw from Ravi Nair")).to_be_visible()
