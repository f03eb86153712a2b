"""What a person sees when something is wrong with their provider, or with the way back from it."""

from __future__ import annotations

import base64
import io
import logging
import time
from dataclasses import replace
from html import unescape

import httpx
import pytest
import structlog

from cmbcluster import logs
from cmbcluster.domain.gate import SESSION_COOKIE, SIGN_IN_COOKIE
from cmbcluster.errors import DatabaseUnavailable
from cmbcluster.identity.oidc import OidcIdentity
from cmbcluster.services.sign_ins import SignInService
from cmbcluster.settings import Settings
from cmbcluster.wiring import set_parts
from tests.oidc.conftest import HOME, Browser, Open, Site, query_of

WAY_ON = ">Sign in again</a>"


def is_page(answer: httpx.Response, status: int, words: str) -> None:
    """A page in our words, with a way on, without anything of a failure's inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "script" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    text = unescape(answer.text)
    assert words in text
    for never in ("Traceback", "httpx", "Error", "cmb-secret"):
        assert never not in text


@pytest.mark.parametrize(
    "trouble",
    [{"status": 500}, {"status": 503}, {"drop": True}, {"delay_ms": 1500}, {"status": 200, "body": "no JSON"}],
)
@pytest.mark.parametrize("route", ["/.well-known/openid-configuration", "/token", "/me", "/jwks"])
async def test_a_provider_that_is_down_slow_or_talks_nonsense(
    open_site: Open, route: str, trouble: dict[str, object]
) -> None:
    async with open_site(oidc_wait_seconds=0.5) as site:
        browser = site.browser()
        site.provider.fault("http", route=route, **trouble)
        since = time.monotonic()
        at_start = route.startswith("/.well-known")
        answer = await (browser.start("/catalogue") if at_start else browser.sign_in(wanted="/catalogue"))
        assert time.monotonic() - since < 5
        is_page(answer, 503, "Lab does not answer at the moment")
        assert "/?next=%2Fcatalogue" in answer.text
        assert WAY_ON in answer.text
        assert answer.headers["retry-after"] == "30"
        assert await browser.users() == []
        assert (await browser.sign_in()).status_code == 303


@pytest.mark.parametrize("route", ["/.well-known/openid-configuration", "/token", "/me", "/jwks"])
async def test_json_of_the_wrong_shape(site: Site, route: str) -> None:
    for body in ("[]", "null", "5", '"text"', "{}", '{"keys": 5, "id_token": [], "access_token": {}}', "[" * 5000):
        browser = site.browser()
        site.platform.parts.identity._clients["lab"].documents._kept.clear()  # type: ignore[attr-defined]
        site.provider.control("DELETE", "faults")
        site.provider.fault("http", route=route, status=200, body=body, times=9)
        at_start = route.startswith("/.well-known")
        answer = await (browser.start() if at_start else browser.sign_in())
        assert answer.status_code in (400, 503), (body, answer.text)
        assert WAY_ON in answer.text
        assert await browser.users() == []


async def test_nobody_listens_at_the_providers_address(open_site: Open) -> None:
    async with open_site({"issuer": "http://127.0.0.1:9"}) as site:
        is_page(await site.browser().start(), 503, "Lab does not answer at the moment")


async def test_known_documents_carry_over_a_short_failure(browser: Browser) -> None:
    assert (await browser.sign_in()).status_code == 303
    browser.provider.fault("http", route="/.well-known/openid-configuration", status=500, times=100)
    browser.provider.fault("http", route="/jwks", status=500, times=100)
    assert (await browser.sign_in("bob")).status_code == 303


async def test_endpoints_that_would_send_secrets_in_the_clear(browser: Browser) -> None:
    for name in ("token_endpoint", "jwks_uri", "userinfo_endpoint", "authorization_endpoint"):
        for value in ("http://evil.example/token", "https://us@evil.example/", "ftp://x", 5):
            browser.provider.control("DELETE", "faults")
            browser.provider.fault("discovery", claims={name: value})
            is_page(await browser.start(), 503, "Lab does not answer at the moment")


async def test_consent_refused(browser: Browser) -> None:
    back = await browser.provider.visit(await browser.way_there("/catalogue"), cancel=True)
    assert "error=access_denied" in back
    answer = await browser.come_back(back)
    is_page(answer, 400, "was not allowed to tell us who you are")
    assert WAY_ON in answer.text
    assert "set-cookie" not in answer.headers
    # A reload does not go round in circles.
    assert (await browser.come_back(back)).status_code == 400


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ("temporarily_unavailable", 503, "does not answer at the moment"),
        ("server_error", 503, "does not answer at the moment"),
        ("login_required", 400, "did not complete the sign-in"),
        ("<script>alert(1)</script>", 400, "did not complete the sign-in"),
    ],
)
async def test_other_refusals(browser: Browser, error: str, status: int, words: str) -> None:
    browser.provider.fault("redirect", params={"error": error, "code": None})
    answer = await browser.sign_in()
    is_page(answer, status, words)
    assert "<script>" not in answer.text


async def test_no_code_or_a_made_up_one(browser: Browser) -> None:
    for code, words in (
        (None, "cannot be believed"),
        ("made-up", "did not accept"),
        ("x" * 5000, "cannot be believed"),
    ):
        browser.provider.fault("redirect", params={"code": code})
        is_page(await browser.sign_in(), 400, words)
    assert await browser.users() == []


async def test_a_wrong_client_secret(open_site: Open) -> None:
    async with open_site({"client_secret": "another"}) as site:
        is_page(await site.browser().sign_in(), 400, "did not accept this sign-in")


async def test_somebody_disabled(browser: Browser) -> None:
    await browser.sign_in()
    async with browser.platform.parts.database.transaction() as work:
        user = await work.users.by_subject("lab", "1001")
        assert user is not None
        user.disabled_at = await work.now()
    answer = await browser.sign_in()
    is_page(answer, 403, "This account is disabled")
    assert "set-cookie" not in answer.headers


async def test_the_database_is_away(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    back = await browser.way_back()

    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("cannot connect to db.internal")

    monkeypatch.setattr(type(browser.platform.parts.sign_ins), "take", away)
    answer = await browser.come_back(back)
    is_page(answer, 503, "A part of the platform does not answer")
    assert "db.internal" not in answer.text
    monkeypatch.undo()
    assert (await browser.come_back(back)).status_code == 303


async def test_a_signed_in_person_is_not_disturbed(browser: Browser) -> None:
    await browser.sign_in()
    before = browser.client.cookies[SESSION_COOKIE]
    browser.provider.fault("bad_signature")
    failed = await browser.sign_in()
    is_page(failed, 400, "You are still signed in")
    assert ">Go to Home</a>" in failed.text
    made_up = await browser.come_back(f"{HOME}/auth/lab/callback?code=a&state={'x' * 43}")
    is_page(made_up, 400, "You are still signed in")
    assert browser.client.cookies[SESSION_COOKIE] == before
    assert await browser.actor() is not None


async def test_two_tabs_of_one_browser_both_arrive(browser: Browser) -> None:
    first, second = await browser.way_back(), await browser.way_back("bob")
    assert (await browser.come_back(first)).status_code == 303
    old = browser.client.cookies[SESSION_COOKIE]
    assert (await browser.come_back(second)).status_code == 303
    # The later one is who this browser is now, and nobody is left signed in without a cookie.
    assert await browser.platform.parts.sessions.find(old) is None
    assert (await browser.actor()).name == "Bob Example"  # type: ignore[union-attr]


async def test_signing_in_works_on_another_replica_than_it_began_on(open_site: Open) -> None:
    async with open_site() as site:
        browser = site.browser()
        back = await browser.way_back()
        # Nothing but the database is shared: another process knows no more than these parts do.
        parts = site.platform.parts
        other = OidcIdentity(parts.settings)
        service = SignInService(parts.database, other, parts.sessions, parts.settings)
        set_parts(replace(parts, identity=other, sign_ins=service))
        assert (await browser.come_back(back)).status_code == 303
        await other.close()


async def test_unknown_ways_in(site: Site) -> None:
    browser = site.browser("nowhere")
    answer = await browser.start()
    is_page(answer, 404, "There is no such way to sign in")
    got = await browser.client.get("/auth/lab/start")
    assert got.status_code in (404, 405)
    assert (
        await browser.client.post("/auth/development", data={"person": "ravi"}, headers={"Origin": HOME})
    ).status_code == 404


async def test_starting_is_for_our_own_pages(site: Site) -> None:
    client = site.browser().client
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for act in ("start", "link"):
            answer = await client.post(f"/auth/lab/{act}", data={}, headers=headers)
            assert answer.status_code == 403
    assert await site.browser().attempts() == []


async def test_too_many_sign_ins_are_told_to_wait(open_site: Open) -> None:
    async with open_site(sign_ins_per_minute=3) as site:
        browser = site.browser()
        answers = [await browser.start() for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert WAY_ON in answers[-1].text


async def test_looking_at_the_way_back_changes_nothing(browser: Browser) -> None:
    back = (await browser.way_back()).removeprefix(HOME)
    assert (await browser.client.head(back)).status_code == 405
    assert [attempt.used_at for attempt in await browser.attempts()] == [None]
    assert (await browser.client.get(back)).status_code == 303


async def test_old_attempts_are_forgotten(browser: Browser) -> None:
    await browser.start()
    browser.platform.advance(1300)
    await browser.start()
    assert len(await browser.attempts()) == 1


async def test_no_secret_is_logged_at_any_level(browser: Browser) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(Settings(log_format="json", log_level="DEBUG", _env_file=None), stream)
    try:
        backs = []
        for fault in ("bad_signature", "wrong_nonce", ""):
            backs.append(await browser.way_back())
            if fault:
                browser.provider.fault(fault)
            answer = await browser.come_back(backs[-1])
        browser.provider.fault("http", route="/token", status=500)
        await browser.sign_in()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    said = stream.getvalue()
    assert said.count("sign-in failed") == 3
    secrets = [query_of(each)[name] for each in backs for name in ("code", "state")]
    key = browser.client.cookies[SIGN_IN_COOKIE]
    tickets = [browser.platform.parts.sign_ins._ticket("lab", query_of(each)["state"], key) for each in backs]
    secrets += [secret for ticket in tickets for secret in (ticket.nonce, ticket.verifier)]
    secrets += ["cmb-secret", base64.b64encode(b"cmb:cmb-secret").decode(), answer.cookies[SESSION_COOKIE], key]
    assert not [secret for secret in secrets if secret in said]
    assert "Bearer" not in said
