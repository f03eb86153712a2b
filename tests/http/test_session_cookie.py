"""The session's cookie at the border: what is admitted, renewed, taken away, and never passed on."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.errors import DatabaseUnavailable
from cmbcluster.http.session_cookie import SessionCookies
from cmbcluster.services.sessions import AUDIENCE
from cmbcluster.settings import Settings
from cmbcluster.wiring import set_parts
from tests.http.conftest import Site
from tests.platform import KEYRING, Platform

WHO = "/auth/standing"
STRICT = "__Host-cmb_session"


async def token_of(site: Site, person: str = "elena") -> str:
    await site.sign_in(person)
    token = site.client.cookies[SESSION_COOKIE]
    site.client.cookies.clear()
    return token


async def status_with(site: Site, cookie: str) -> int:
    return (await site.client.get(WHO, headers={"Cookie": cookie})).status_code


async def test_one_admitted_cookie_is_somebody(site: Site) -> None:
    token = await token_of(site)
    assert await status_with(site, f"other=1; {SESSION_COOKIE}={token}; more=2") == 200
    assert await status_with(site, f"{SESSION_COOKIE}={token}; {SESSION_COOKIE}={token}") == 200


async def test_two_different_cookies_of_our_name_are_nobody(site: Site) -> None:
    mine, theirs = await token_of(site, "elena"), await token_of(site, "ada")
    for cookie in (
        f"{SESSION_COOKIE}={mine}; {SESSION_COOKIE}={theirs}",
        f"{SESSION_COOKIE}={theirs}; {SESSION_COOKIE}={mine}",
        "; ".join(f"{SESSION_COOKIE}=x{number}" for number in range(10)) + f"; {SESSION_COOKIE}={mine}",
    ):
        assert await status_with(site, cookie) == 401


def part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    return {"aud": AUDIENCE, "sid": str(uuid4()), "ser": 1, "iat": now, "exp": now + 600, **changes}


@pytest.mark.parametrize(
    "token",
    [
        f"{part({'alg': 'none', 'kid': 'test'})}.{part(claims())}.",
        KEYRING.sign(claims()),  # A session that was never there, or whose person was deleted.
        KEYRING.sign(claims(sid="no uuid")),
        KEYRING.sign(claims(ser="x")),
        KEYRING.sign(claims(aud="cmbcluster-environment:x")),
        "x" * 65_536,
        "",
        '"quoted"',
    ],
)
async def test_what_is_no_token_of_a_living_session_is_nobody(site: Site, token: str) -> None:
    answer = await site.client.get(WHO, headers={"Cookie": f"{SESSION_COOKIE}={token}"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


async def test_a_token_is_renewed_in_silence(site: Site) -> None:
    token = await token_of(site)
    site.platform.advance(400)
    answer = await site.client.get("/healthz", headers={"Cookie": f"{SESSION_COOKIE}={token}"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Path=/"))
    renewed = cookie.partition("=")[2].partition(";")[0]
    assert renewed != token
    assert await status_with(site, f"{SESSION_COOKIE}={renewed}") == 200


async def test_an_expired_token_works_once_more_and_a_copy_of_it_ends_the_session(site: Site) -> None:
    token = await token_of(site)
    site.platform.advance(700)
    answer = await site.client.get(WHO, headers={"Cookie": f"{SESSION_COOKIE}={token}"})
    assert answer.status_code == 200
    renewed = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert await status_with(site, f"{SESSION_COOKIE}={renewed}") == 200
    site.platform.advance(120)
    assert await status_with(site, f"{SESSION_COOKIE}={token}") == 401
    assert await status_with(site, f"{SESSION_COOKIE}={renewed}") == 401


async def test_signing_out_takes_the_cookie_away_even_when_it_was_to_be_renewed(site: Site) -> None:
    token = await token_of(site)
    site.platform.advance(400)
    site.client.cookies.set(SESSION_COOKIE, token)
    answer = await site.post("/auth/sign-out")
    assert [cookie.partition(";")[0] for cookie in answer.headers.get_list("set-cookie")] == [f"{SESSION_COOKIE}="]
    assert await status_with(site, f"{SESSION_COOKIE}={token}") == 401


async def test_asking_when_it_ends_is_no_activity_and_saying_that_one_is_there_is(site: Site) -> None:
    token = await token_of(site)
    site.platform.advance(250)
    asked = await site.client.get(WHO, headers={"Cookie": f"{SESSION_COOKIE}={token}"})
    assert asked.json()["ends_in_seconds"] == 1550
    site.client.cookies.set(SESSION_COOKIE, token)
    assert (await site.post(WHO)).json()["ends_in_seconds"] == 1800


async def test_a_database_that_is_away_signs_nobody_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await token_of(site)

    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    sessions = site.platform.parts.sessions
    with monkeypatch.context() as patched:
        patched.setattr(sessions, "_look", away)
        answer = await site.client.get(WHO, headers={"Cookie": f"{SESSION_COOKIE}={token}"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert "set-cookie" not in answer.headers
    assert await status_with(site, f"{SESSION_COOKIE}={token}") == 200


class Inside:
    """An application that keeps what reaches it."""

    def __init__(self) -> None:
        self.cookies: list[str] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.cookies = [value.decode() for name, value in scope["headers"] if name == b"cookie"]
        await send({"type": "websocket.accept"})


async def handshake(settings: Settings, *cookies: str) -> tuple[list[str], list[str]]:
    """The cookies that arrive inside, and those set with the answer."""
    inside, sent = Inside(), []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "headers": [(b"host", b"x"), *((b"cookie", text.encode()) for text in cookies)]}
    await SessionCookies(inside, settings)(scope, cast(Any, None), send)
    return inside.cookies, [value.decode() for name, value in sent[0].get("headers", ()) if name == b"set-cookie"]


async def test_a_handshake_carries_an_admitted_cookie_or_none(platform: Platform) -> None:
    set_parts(platform.parts)
    actor = await platform.sign_in("elena")
    now = platform.clock.at.timestamp()
    token = KEYRING.sign(claims(sid=str(actor.session_id), iat=int(now), exp=int(now) + 600))
    settings = platform.parts.settings
    assert await handshake(settings, f"a=1; {SESSION_COOKIE}={token}", "b=2") == (
        [f"{SESSION_COOKIE}={token}"],
        [],
    )
    platform.advance(700)
    inside, told = await handshake(settings, f"{SESSION_COOKIE}={token}")
    assert inside[0] != f"{SESSION_COOKIE}={token}"
    assert told[0].startswith(inside[0] + ";")
    assert await handshake(settings, f"{SESSION_COOKIE}=forged; a=1") == ([], [])
    assert await handshake(settings, f"{SESSION_COOKIE}=forged") == ([], [])
    set_parts(None)


async def test_behind_tls_only_the_strict_name_counts(platform: Platform) -> None:
    set_parts(platform.parts)
    actor = await platform.sign_in("elena")
    now = platform.clock.at.timestamp()
    token = KEYRING.sign(claims(sid=str(actor.session_id), iat=int(now), exp=int(now) + 600))
    settings = cast(
        Settings,
        SimpleNamespace(session_cookie=STRICT, public_url="https://cmb.example.org", session_absolute_seconds=43200),
    )
    assert await handshake(settings, f"{SESSION_COOKIE}={token}") == ([], [])
    assert await handshake(settings, f"{STRICT}={token}") == ([f"{SESSION_COOKIE}={token}"], [])
    platform.advance(400)
    _, told = await handshake(settings, f"{STRICT}={token}")
    assert told[0].startswith(f"{STRICT}=")
    assert "; Secure" in told[0]
    assert "Domain" not in told[0]
    set_parts(None)


@pytest.mark.parametrize("other", ['prefs={"a":1}', 'q="x; y', "n=\xe9", "novalue", "=x", "a b c"])
async def test_others_cookies_neither_hide_ours_nor_stand_for_it(platform: Platform, other: str) -> None:
    set_parts(platform.parts)
    actor = await platform.sign_in("elena")
    now = platform.clock.at.timestamp()
    token = KEYRING.sign(claims(sid=str(actor.session_id), iat=int(now), exp=int(now) + 600))
    settings = platform.parts.settings
    assert (await handshake(settings, f"{other}; {SESSION_COOKIE}={token}"))[0] == [f"{SESSION_COOKIE}={token}"]
    set_parts(None)


async def test_our_cookie_inside_of_another_is_none(site: Site) -> None:
    token = await token_of(site)
    settings = site.platform.parts.settings
    for hidden in (
        f"x=y {SESSION_COOKIE}={token}",
        f"{SESSION_COOKIE}=bad; x=y {SESSION_COOKIE}={token}",
        f"x=y\t{SESSION_COOKIE}={token}",
        f"x=y,{SESSION_COOKIE}={token}",
        f'x="; {SESSION_COOKIE}=bad" {SESSION_COOKIE}={token}',
        f"\xa0{SESSION_COOKIE}\x85x={token}",
    ):
        assert await handshake(settings, hidden) == ([], [])
        answer = await site.client.get(WHO, headers={b"Cookie": hidden.encode("latin-1")})
        assert answer.status_code == 401, hidden


@pytest.mark.parametrize(
    ("site_word", "mode", "dest", "status"),
    [
        ("same-site", "no-cors", "image", 401),
        ("cross-site", "no-cors", "script", 401),
        ("same-site", "cors", "empty", 401),
        ("cross-site", "navigate", "iframe", 401),
        ("cross-site", "navigate", "document", 200),
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
    ],
)
async def test_what_another_sites_page_asks_by_itself_is_nobodys(
    site: Site, site_word: str, mode: str, dest: str, status: int
) -> None:
    token = await token_of(site)
    told = {"Sec-Fetch-Site": site_word, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    answer = await site.client.get(WHO, headers={"Cookie": f"{SESSION_COOKIE}={token}", **told})
    assert answer.status_code == status
