"""What the platform prints, at its most talkative: no secret of a whole day, no client token, no forged line."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from pathlib import Path

import httpx

from cmbcluster.domain.gate import SESSION_COOKIE
from tests.e2e.conftest import Started
from tests.security.hostile import HYDRATE, cookie_of, hostile
from tests.security.victims import ACTS, Victim

FORGED = "\r\n\x1b[31mFORGED LINE"
REPORT = "reflex___state____state.reflex___state____frontend_event_exception_state.handle_frontend_exception"
KIB = 1024


def said(up: Started) -> str:
    """Everything printed so far; a moment is left for what is under way."""
    time.sleep(0.5)
    return up.log.read_text(errors="replace")


def keys_of(data: Path) -> list[str]:
    """The secrets that sign sessions and environments' cookies."""
    return re.findall(r"[A-Za-z0-9_-]{40,}=*", (data / "keys" / "tokens.json").read_text())


def test_no_secret_of_a_day_is_printed(up: Started, victims: dict[str, Victim]) -> None:
    own, cookie = victims["elena"], cookie_of(up.url, "elena")
    secrets = {"cookie": cookie, "personal token": own.secret, "made-up code": uuid.uuid4().hex}
    secrets |= {f"key {number}": key for number, key in enumerate(keys_of(up.data))}
    assert "key 0" in secrets
    headers = {"Cookie": f"{SESSION_COOKIE}={cookie}", "Origin": up.url}
    opened = httpx.get(f"{up.url}/open/{own.environment_id}", headers=headers)
    secrets["one-time code"] = opened.headers["location"].partition("code=")[2]
    host = {"Host": opened.headers["location"].partition("//")[2].partition("/")[0]}
    entered = httpx.get(f"{up.url}/.cmb/enter?code={secrets['one-time code']}", headers=host)
    secrets["environment's cookie"] = entered.headers["set-cookie"].partition("=")[2].partition(";")[0]
    inside = {"Cookie": f"cmb_environment={entered.headers['set-cookie'].partition('=')[2].partition(';')[0]}"} | host
    # A day: what works, what is refused, and what fails.
    for path in ("/", "/lab", "/.cmb/enter?code=" + secrets["made-up code"]):
        httpx.get(f"{up.url}{path}", headers=inside)
    for where in ("/auth/standing", "/api/v1/me", "/api/activity.csv", "/api/v1/environments/none", "/nothing"):
        httpx.get(f"{up.url}{where}", headers=headers)
        httpx.get(f"{up.url}{where}", headers={"Authorization": f"Bearer {own.secret}"})
        httpx.get(f"{up.url}{where}?token={own.secret}&code={secrets['made-up code']}")
    httpx.get(f"{up.url}/auth/lab/callback?code={secrets['made-up code']}&state={own.secret}", headers=headers)
    (up.data / "database-away").touch()
    for where in ("/auth/standing", "/api/v1/me"):
        httpx.get(f"{up.url}{where}", headers=headers)
        httpx.get(f"{up.url}{where}", headers={"Authorization": f"Bearer {own.secret}"})
    (up.data / "database-away").unlink()
    with hostile(up.url, cookie) as client:
        client.send("state.made.up", {"x": 1})
        # Reflex prints the whole event with the headers of the connection when it cannot read one.
        for shape in ("text", 7, {"name": None}, {"name": "x", "router_data": 7}):
            client.emit("event", shape)
        client.send(HYDRATE)
        client.listen(0.3)
    httpx.post(f"{up.url}/auth/sign-out", headers=headers)
    printed = said(up)
    assert len(printed) > 2_000
    assert [name for name, secret in secrets.items() if secret in printed] == []


def test_no_client_token_is_printed(up: Started) -> None:
    tokens = [uuid.uuid4().hex for _ in range(3)]
    for token in tokens:
        with hostile(up.url, cookie_of(up.url, "elena"), token=token) as client:
            client.send(HYDRATE, path="/environments")
            client.listen(0.3)
            for shape in ("text", {"name": None}, 7):
                client.emit("event", shape)
            # It leaves while its page is being asked for and shown.
            for _ in range(20):
                client.send(HYDRATE, path="/environments")
            time.sleep(0.05)
    printed = said(up)
    assert [token for token in tokens if token in printed] == []


def test_nobody_forges_a_line(up: Started, victims: dict[str, Victim]) -> None:
    headers = {"User-Agent": "Mozilla \x1b[31m FORGED LINE", "Origin": "http://x\x1b[31mFORGED LINE"}
    httpx.post(f"{up.url}/auth/development", data={"person": f"elena{FORGED}"}, headers={"Origin": up.url})
    # The edge itself may hang up on such headers.
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(f"{up.url}/auth/development", data={"person": "elena"}, headers=headers)
    httpx.get(f"{up.url}/api/%0d%0a%1b[31mFORGED%20LINE")
    httpx.get(f"{up.url}/auth/%0d%0a%1b[31mFORGED%20LINE/callback?state=%0d%0aFORGED")
    with hostile(up.url, cookie_of(up.url, "ada")) as client:
        client.send(f"no.such{FORGED}", {"x": FORGED})
        client.send(f"{ACTS}.stop", {f"raw{FORGED}": FORGED})
        # Reflex writes this text into its own sentence as it is.
        client.send(REPORT, {"info": FORGED, "component_stack": FORGED})
        client.emit("client_error", {"message": FORGED, "error_type": FORGED})
        client.listen(0.3)
    printed = said(up)
    assert "FORGED LINE" in printed, "nothing of it was written at all"
    assert "\x1b" not in printed
    for line in printed.splitlines():
        assert not line.startswith(("FORGED", "[31m"))


def test_a_cookie_of_64_kib_is_nobody_and_breaks_nothing(up: Started) -> None:
    large = {"Cookie": f"{SESSION_COOKIE}={'x' * 64 * KIB}"}
    for path in ("/", "/auth/standing", "/api/v1/me", "/healthz"):
        # The edge says no before it has read all of it, so the rest of the connection may be cut.
        with httpx.stream("GET", f"{up.url}{path}", headers=large) as answer:
            assert answer.status_code in (200, 400, 401, 431), f"{path}: {answer.status_code}"
            assert "set-cookie" not in answer.headers
    ten = "; ".join(f"{SESSION_COOKIE}=x{number}" for number in range(10))
    good = cookie_of(up.url, "ada")
    assert (
        httpx.get(f"{up.url}/auth/standing", headers={"Cookie": f"{ten}; {SESSION_COOKIE}={good}"}).status_code == 401
    )
    assert httpx.get(f"{up.url}/auth/standing", headers={"Cookie": f"{SESSION_COOKIE}={good}"}).status_code == 200
