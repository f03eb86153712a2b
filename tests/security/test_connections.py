"""The event socket itself: who gets one, whose it is, and how long it is worth anything."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx
import pytest
import websocket

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.e2e.conftest import Started
from tests.security.hostile import HYDRATE, Hostile, Refused, cookie_of, hostile
from tests.security.victims import ACTS, LAUNCH, Victim, ask, theirs

STATE = "reflex___state____state"
WATCH = f"{STATE}.cmbcluster___web___pages___environments____environments_state.watch"
IN, SENT_AWAY = '"who_rx_state_": "in"', "/?next="
# A session's answer is reused for two seconds on a replica that no ring reaches.
AT_MOST_SECONDS = 6.0
SOCKETS_OF_A_SESSION = 40


def nothing_of(victim: Victim, said: str) -> None:
    """Nothing that is the victim's was said."""
    for mark in victim.marks:
        assert mark not in said, said[max(0, said.find(mark) - 300) :][:600]


@contextmanager
def open_page(up: Started, victim: Victim, token: str) -> Iterator[Hostile]:
    """The victim's own tab, which shows what is theirs."""
    with hostile(up.url, cookie_of(up.url, victim.person), token=token) as tab:
        tab.send(HYDRATE, path="/environments")
        tab.until(IN)
        tab.send(WATCH, path="/environments")
        tab.until(victim.marks[0])
        yield tab


@pytest.mark.parametrize(
    "more",
    [
        {"origin": None},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "https://localhost"},
        {"transport": "polling"},
    ],
    ids=str,
)
def test_no_socket_for_a_page_that_is_not_ours(up: Started, victims: dict[str, Victim], more: dict[str, Any]) -> None:
    with pytest.raises(Refused), hostile(up.url, cookie_of(up.url, "elena"), **more):
        pass


def test_no_socket_for_the_page_of_an_environment(up: Started, victims: dict[str, Victim]) -> None:
    slug = victims["elena"].marks[1]
    with pytest.raises(Refused), hostile(up.url, cookie_of(up.url, "elena"), origin=up.host(slug)):
        pass


def test_a_session_holds_so_many_sockets_and_no_more(up: Started) -> None:
    cookie = cookie_of(up.url, "ada")
    with ExitStack() as held:
        tabs = [held.enter_context(hostile(up.url, cookie)) for _ in range(SOCKETS_OF_A_SESSION)]
        address = f"ws://localhost:{up.port}/_event/?EIO=4&transport=websocket&token=x"
        # Its own socket is given to it, since the client forgets to close one that is refused.
        with (
            socket.create_connection(("localhost", up.port)) as plain,
            pytest.raises(websocket.WebSocketBadStatusException) as refused,
        ):
            ours = f"{SESSION_COOKIE}={cookie}"
            websocket.create_connection(address, socket=plain, timeout=10, origin=up.url, cookie=ours)
        assert refused.value.status_code == 429
        assert b"Close some and try again." in (refused.value.resp_body or b"")
        tabs[0].send(HYDRATE)
        tabs[0].until(IN)
        with hostile(up.url, cookie_of(up.url, "ravi")) as other:
            other.send(HYDRATE)
            other.until(IN)
        tabs.pop().close()
        until = time.monotonic() + AT_MOST_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(Refused), hostile(up.url, cookie):
                return
        raise AssertionError("the place of a socket that was closed is not free again")


@pytest.mark.parametrize("cookie_of_thief", ["none", "own"])
@pytest.mark.parametrize("victim_is", ["there", "gone"])
def test_a_stolen_client_token_shows_nothing(
    up: Started, victims: dict[str, Victim], cookie_of_thief: str, victim_is: str
) -> None:
    victim, token = victims["elena"], uuid.uuid4().hex
    cookie = cookie_of(up.url, "ada") if cookie_of_thief == "own" else ""

    def steal() -> None:
        before = theirs(up.data, victim)
        with hostile(up.url, cookie, token=token) as thief:
            for name in (HYDRATE, f"{STATE}.hydrate", f"{STATE}.on_load_internal", WATCH):
                thief.send(name, path="/environments")
            thief.send(f"{ACTS}.ask_delete", {"raw_id": victim.environment_id}, "/environments")
            thief.send(f"{ACTS}.delete", {"form": {"workspace": "keep"}}, "/environments")
            said = thief.listen(0.5)
        assert said
        nothing_of(victim, said)
        assert theirs(up.data, victim) == before

    with open_page(up, victim, token) as tab:
        # The dialog names what the victim's next click would delete.
        tab.send(f"{ACTS}.ask_delete", {"raw_id": victim.environment_id}, "/environments")
        tab.until('"deleting_id_rx_state_"')
        if victim_is == "there":
            steal()
            assert tab.connected
    if victim_is == "gone":
        steal()


def test_a_cookie_that_an_event_claims_counts_for_nothing(up: Started, victims: dict[str, Victim]) -> None:
    victim = victims["elena"]
    cookie = f"{SESSION_COOKIE}={cookie_of(up.url, 'elena')}"
    claimed = {"cookie": cookie, "Cookie": cookie}
    router = {"pathname": "/environments", "asPath": "/environments", "headers": claimed, "token": victim.session_id}
    with hostile(up.url) as client:
        for name in (HYDRATE, WATCH):
            client.send(name, router_data=router, token="x", substate_token="x")
        said = client.listen(0.5)
        assert SENT_AWAY in said
        nothing_of(victim, said)


def test_what_comes_with_the_connection_is_judged_like_an_event(up: Started, victims: dict[str, Victim]) -> None:
    boot = {"name": WATCH, "payload": {}, "router_data": {"pathname": "/environments", "asPath": "/environments"}}
    with hostile(up.url, auth={"event": boot}) as client:
        nothing_of(victims["elena"], client.listen(0.5))


MADE_UP = (
    "acts.stop",
    f"{STATE}.no_such_handler",
    f"{STATE}.cmbcluster___web___guard____owner.__init__",
    f"{ACTS}.__class__",
    f"{ACTS}.get_state",
    f"{ACTS}.set_deleting_id",
    f"{LAUNCH}.set_offer",
    f"{STATE}._reset",
    "../../etc/passwd",
    "",
    "x" * 10_000,
)


def test_made_up_handlers_and_shapes_do_nothing(up: Started, victims: dict[str, Victim]) -> None:
    victim = victims["elena"]
    with hostile(up.url, cookie_of(up.url, "ada")) as client:
        client.send(HYDRATE)
        client.until(IN)
        client.listen(0.3)
        client.forget()
        for name in MADE_UP:
            client.send(name, {"raw_id": victim.environment_id, "value": "x"})
        client.emit("event", ("a", "b", "c"))
        shape: object
        for shape in ("text", '{"name": 1}', 7, None, [], [[]], {"name": None}, {"name": WATCH, "router_data": 7}):
            client.emit("event", shape)
        client.emit("no_such_kind", {"x": 1})
        client.emit("client_error", {"message": "x" * 100_000, "error_type": "\x1b[31m"})
        said = client.listen(0.5)
        nothing_of(victim, said)
        assert "Traceback" not in said
        assert "Traceback" not in up.log.read_text()
        # The tab goes on as if nothing had been said.
        client.send(f"{ACTS}.ask_delete", {"raw_id": victims["ada"].environment_id})
        client.until(victims["ada"].marks[0])


def change(up: Started, statement: str, *values: object) -> None:
    """What another replica, or the operator's terminal, does to the database: no ring reaches this process."""
    with closing(sqlite3.connect(up.data / "cmbcluster.db", timeout=10)) as writer, writer:
        assert writer.execute(statement, values).rowcount == 1


def refused_soon(client: Hostile, send: Callable[[], None], shown: str) -> None:
    """The very next events are refused, as soon as the answer in use is too old."""
    until = time.monotonic() + AT_MOST_SECONDS
    while True:
        client.forget()
        send()
        said = client.listen(0.2)
        if shown not in said:
            assert SENT_AWAY in said or "redirect" in said, said
            return
        assert time.monotonic() < until, "an open socket went on being believed"
        time.sleep(0.3)


@pytest.mark.parametrize("why", ["signed out", "ended elsewhere", "disabled"])
def test_an_open_socket_is_worth_no_more_than_its_session(up: Started, victims: dict[str, Victim], why: str) -> None:
    own, cookie = victims["ada"], cookie_of(up.url, "ada")
    with hostile(up.url, cookie) as client:
        client.send(HYDRATE, path="/environments")
        client.until(IN)

        def look() -> None:
            client.send(f"{ACTS}.ask_delete", {"raw_id": own.environment_id}, "/environments")

        look()
        client.until(own.marks[0])
        session = ask(up.data, "select id from sessions order by created_at desc")[0][0]
        try:
            if why == "signed out":
                headers = {"Cookie": f"{SESSION_COOKIE}={cookie}", "Origin": up.url}
                assert httpx.post(f"{up.url}/auth/sign-out", headers=headers).status_code == 303
                client.forget()
                look()
                # In this process it is in force with the very next event.
                assert own.marks[0] not in client.listen(0.3)
            elif why == "ended elsewhere":
                change(up, "update sessions set ended_at = last_seen_at where id = ?", session)
            else:
                change(up, "update users set disabled_at = created_at where email = ?", "ada@example.org")
            refused_soon(client, look, own.marks[0])
        finally:
            if why == "disabled":
                change(up, "update users set disabled_at = null where email = ?", "ada@example.org")


def test_no_answer_lets_another_site_read(up: Started) -> None:
    cookie = f"{SESSION_COOKIE}={cookie_of(up.url, 'ada')}"
    for path in ("/", "/ping", "/_health", "/_event/", "/auth/standing", "/assets/none.js", "/env.json"):
        for origin in ("http://evil.example", "null", up.host("demo-abc123")):
            for method in ("GET", "OPTIONS"):
                asked = {"Origin": origin, "Cookie": cookie, "Access-Control-Request-Method": "POST"}
                answer = httpx.request(method, f"{up.url}{path}", headers=asked)
                assert answer.headers.get("access-control-allow-origin") in (None, up.url), f"{method} {path}"
