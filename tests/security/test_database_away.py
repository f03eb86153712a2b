"""A database that is away for a while: said in words, nobody signed out, and back without a reload."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.e2e.conftest import Started
from tests.security.hostile import HYDRATE, cookie_of, hostile
from tests.security.test_connections import IN, SENT_AWAY
from tests.security.victims import ACTS, Victim

BACK_SECONDS = 15.0


@contextmanager
def away(up: Started) -> Iterator[None]:
    """The database is away inside."""
    switch = up.data / "database-away"
    switch.touch()
    try:
        yield
    finally:
        switch.unlink()


def test_an_open_page_says_so_and_goes_on(up: Started, victims: dict[str, Victim]) -> None:
    own = victims["elena"]
    with hostile(up.url, cookie_of(up.url, "elena")) as tab:
        tab.send(HYDRATE, path="/environments")
        tab.until(own.marks[0])
        tab.listen(0.3)
        tab.forget()
        with away(up):
            # What was known of the session a moment ago is not believed any more by then.
            time.sleep(2.5)
            tab.send(f"{ACTS}.ask_delete", {"raw_id": own.environment_id}, "/environments")
            said = tab.until("Try again in a moment")
            assert SENT_AWAY not in said
            assert "Traceback" not in said
            tab.listen(3.0)
            assert SENT_AWAY not in "\n".join(tab.frames)
        tab.forget()
        tab.send(f"{ACTS}.ask_delete", {"raw_id": own.environment_id}, "/environments")
        tab.until('"deleting_name_rx_state_"', BACK_SECONDS)


def test_a_page_opened_meanwhile_says_so_and_fills_by_itself(up: Started, victims: dict[str, Victim]) -> None:
    own, cookie = victims["elena"], cookie_of(up.url, "elena")
    with away(up), hostile(up.url, cookie) as tab:
        tab.send(HYDRATE, path="/environments")
        said = tab.until("trouble_rx_state_")
        assert "keep trying" in said
        assert SENT_AWAY not in said
        assert own.marks[0] not in said
        # Back: what the page asked for comes without anybody asking again.
        (up.data / "database-away").unlink()
        tab.until(own.marks[0], BACK_SECONDS)
        tab.until(IN)
        (up.data / "database-away").touch()


def test_requests_are_told_to_come_again_and_keep_their_cookie(up: Started) -> None:
    headers = {"Cookie": f"{SESSION_COOKIE}={cookie_of(up.url, 'elena')}"}
    with away(up):
        for path in ("/auth/standing", "/api/v1/me", "/api/activity.csv", "/open/anything"):
            answer = httpx.get(f"{up.url}{path}", headers=headers)
            assert answer.status_code == 503, path
            assert "set-cookie" not in answer.headers
            assert answer.headers["retry-after"]
            assert "sqlite" not in answer.text.lower()
    assert httpx.get(f"{up.url}/auth/standing", headers=headers).status_code == 200
