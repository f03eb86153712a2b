"""Items 1 to 10 of the security checklist, each against the real provider and its faults.

Every fault here was once seen to let somebody in when the check it stands for was taken out.
"""

from __future__ import annotations

import base64
import hashlib
import time

import httpx
import pytest

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.gate import SIGN_IN_COOKIE
from tests.oidc.conftest import HOME, Browser, Open, Site, query_of

CANNOT = "cannot be believed"
VECTORS = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "http:evil.example",
    "http://evil.example", "https://us@evil.example", "//us@evil.example", "javascript:alert(1)", "/\tevil",
    "\t//evil.example", "/\r\nSet-Cookie: a=b", "/\x00", "/\x7f", " //evil.example", "／／evil.example", "/ünïcode",
]  # fmt: skip


async def refused(browser: Browser, answer: httpx.Response, words: str = CANNOT) -> None:
    """A clear page, a way on, and nobody signed in or written down."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text
    assert ">Sign in again</a>" in answer.text
    assert "Traceback" not in answer.text
    assert "set-cookie" not in answer.headers
    assert await browser.actor() is None
    assert await browser.users() == []


async def test_item_01_code_flow_with_pkce_s256(browser: Browser) -> None:
    asked = query_of(await browser.way_there())
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{HOME}/auth/lab/callback"
    assert "cmb-secret" not in str(asked)
    back = await browser.provider.visit(await browser.way_there())
    # The provider refuses another verifier than the one that its challenge was made from.
    service = browser.platform.parts.sign_ins
    whole = service._ticket

    def wrong(provider_id: str, state: str, key: str) -> object:
        ticket = whole(provider_id, state, key)
        return type(ticket)(ticket.state, ticket.nonce, "x" * 43, ticket.redirect_uri)

    service._ticket = wrong  # type: ignore[method-assign, assignment]
    await refused(browser, await browser.come_back(back), "did not accept this sign-in")


async def test_item_01_the_verifier_is_secret_and_fits(browser: Browser) -> None:
    asked = query_of(await browser.way_there())
    key = browser.client.cookies[SIGN_IN_COOKIE]
    ticket = browser.platform.parts.sign_ins._ticket("lab", asked["state"], key)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(ticket.verifier.encode()).digest()).rstrip(b"=").decode()
    assert asked["code_challenge"] == challenge
    assert len(ticket.verifier) >= 43
    kept = str(await browser.attempts())
    assert all(secret not in kept for secret in (ticket.verifier, ticket.nonce, ticket.state, key))


async def test_item_02_state_is_long_and_bound_to_a_short_lived_cookie(browser: Browser) -> None:
    page = await browser.start()
    cookie = page.headers["set-cookie"]
    assert cookie.startswith(f"{SIGN_IN_COOKIE}=")
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=600"):
        assert part in cookie
    assert "domain" not in cookie.lower()
    states = {query_of(await browser.way_there())["state"] for _ in range(5)}
    assert len(states) == 5
    assert all(len(state) * 6 >= 128 for state in states)


async def test_item_02_the_cookie_is_a_host_cookie_over_tls(open_site: Open) -> None:
    async with open_site(public_url="https://cmb.example.org") as site:
        browser = site.browser()
        headers = {"Sec-Fetch-Site": "same-origin"}
        page = await browser.client.post("/auth/lab/start", data={}, headers=headers)
        cookie = page.headers["set-cookie"]
        assert cookie.startswith(f"__Host-{SIGN_IN_COOKIE}=")
        assert "Secure" in cookie
        assert "https%3A%2F%2Fcmb.example.org%2Fauth%2Flab%2Fcallback" in page.text


async def test_item_02_without_the_cookie(browser: Browser) -> None:
    back = await browser.way_back()
    browser.client.cookies.clear()
    answer = await browser.come_back(back)
    await refused(browser, answer, "too old, or it was begun in another browser")
    assert answer.status_code == 400


async def test_item_02_with_another_browsers_cookie(site: Site) -> None:
    victim, attacker = site.browser(), site.browser()
    back = await attacker.way_back("mallory")
    await victim.start()
    answer = await victim.come_back(back)
    await refused(victim, answer, "begun in another browser")
    assert answer.status_code == 400


async def test_item_02_twice(browser: Browser) -> None:
    back = await browser.way_back()
    assert (await browser.come_back(back)).status_code == 303
    sessions = await browser.platform.parts.sessions.mine(await _actor(browser))
    # Signed in, the second time leads where the first one led, and makes nothing.
    again = await browser.come_back(back)
    assert (again.status_code, again.headers["location"]) == (303, "/")
    assert "set-cookie" not in again.headers
    assert await browser.platform.parts.sessions.mine(await _actor(browser)) == sessions
    # Signed out, it is a page.
    key = browser.client.cookies[SIGN_IN_COOKIE]
    browser.client.cookies.clear()
    browser.client.cookies[SIGN_IN_COOKIE] = key
    late = await browser.come_back(back)
    assert late.status_code == 400
    assert "was already completed" in late.text
    assert "set-cookie" not in late.headers


async def test_item_02_too_late_and_made_up(browser: Browser) -> None:
    back = await browser.way_back()
    browser.platform.advance(601)
    await refused(browser, await browser.come_back(back), "too old")
    await browser.start()
    for state in ("", "x", "x" * 43, "x" * 5000):
        answer = await browser.come_back(f"{HOME}/auth/lab/callback?code=abc&state={state}")
        await refused(browser, answer, "too old")
    twice = await browser.come_back(f"{await browser.way_back()}&state=other")
    await refused(browser, twice, "says something twice")


@pytest.mark.parametrize("fault", ["wrong_nonce", "missing_nonce"])
async def test_item_03_nonce(browser: Browser, fault: str) -> None:
    browser.provider.fault(fault)
    await refused(browser, await browser.sign_in())


async def test_item_04_issuer_of_the_token(browser: Browser) -> None:
    browser.provider.fault("wrong_iss")
    await refused(browser, await browser.sign_in())


async def test_item_04_issuer_of_the_discovery_document(browser: Browser) -> None:
    browser.provider.fault("discovery", claims={"issuer": f"{browser.provider.issuer}/"})
    page = await browser.start()
    assert page.status_code == 503
    assert "Lab does not answer at the moment" in page.text
    assert await browser.attempts() == []
    # A right document afterwards is taken.
    assert (await browser.sign_in()).status_code == 303


async def test_item_04_issuer_in_the_response(site: Site) -> None:
    for params in ({"iss": "http://127.0.0.1:1/evil"}, {"iss": None}):
        browser = site.browser()
        site.provider.fault("redirect", params=params)
        await refused(browser, await browser.sign_in())


async def test_item_04_mixed_up_providers(open_site: Open) -> None:
    async with open_site({}, {"id": "other", "name": "Other"}) as site:
        browser = site.browser()
        back = await browser.way_back()
        answer = await browser.come_back(back.replace("/auth/lab/", "/auth/other/"))
        await refused(browser, answer, "begun in another browser")


@pytest.mark.parametrize("fault", ["wrong_aud", "extra_aud"])
async def test_item_05_audience(browser: Browser, fault: str) -> None:
    browser.provider.fault(fault)
    await refused(browser, await browser.sign_in())


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another-client", "azp": "cmb"},
        {"aud": ["another-client"], "azp": "cmb"},
        {"aud": "cmb", "azp": "another-client"},
        {"aud": ["cmb", "another-client"], "azp": "another-client"},
        {"aud": []},
        {"aud": None},
    ],
)
async def test_item_05_authorized_party(browser: Browser, claims: dict[str, object]) -> None:
    browser.provider.fault("id_token", claims=claims)
    await refused(browser, await browser.sign_in())


async def test_item_05_strangers_are_accepted_when_it_was_given_to_us(browser: Browser) -> None:
    browser.provider.fault("id_token", claims={"aud": ["cmb", "another-client"], "azp": "cmb"})
    assert (await browser.sign_in()).status_code == 303


@pytest.mark.parametrize("fault", ["bad_signature", "unknown_kid", "alg_none", "hs256_public_key"])
async def test_item_06_signature(browser: Browser, fault: str) -> None:
    browser.provider.fault(fault)
    await refused(browser, await browser.sign_in())


async def test_item_06_only_allowed_algorithms(open_site: Open) -> None:
    async with open_site({"algorithms": ("ES256",)}) as site:
        browser = site.browser()
        await refused(browser, await browser.sign_in())


async def test_item_06_an_unknown_key_is_looked_for_once(browser: Browser) -> None:
    assert (await browser.sign_in()).status_code == 303
    before = browser.provider.hits("/jwks")
    for _ in range(4):
        browser.provider.fault("unknown_kid")
        assert CANNOT in (await browser.sign_in()).text
    assert browser.provider.hits("/jwks") == before + 1


@pytest.mark.parametrize("keep_old", [True, False])
async def test_item_06_rotated_keys_are_found(browser: Browser, keep_old: bool) -> None:
    assert (await browser.sign_in()).status_code == 303
    browser.provider.control("POST", "rotate", keep_old=keep_old)
    assert (await browser.sign_in("bob")).status_code == 303
    assert {user.name for user in await browser.users()} == {"Alice Example", "Bob Example"}


@pytest.mark.parametrize("fault", ["expired", "future"])
async def test_item_07_time(browser: Browser, fault: str) -> None:
    browser.provider.fault(fault)
    await refused(browser, await browser.sign_in(), "clocks of Lab and of this platform do not agree")


@pytest.mark.parametrize(
    ("shift", "enters"), [({"exp": -50}, True), ({"exp": -70}, False), ({"iat": 50}, True), ({"iat": 70}, False),
                          ({"nbf": 50}, True), ({"nbf": 70}, False)],
)  # fmt: skip
async def test_item_07_leeway_is_one_minute(browser: Browser, shift: dict[str, int], enters: bool) -> None:
    claims = {name: int(time.time()) + seconds for name, seconds in shift.items()}
    browser.provider.fault("id_token", claims=claims)
    answer = await browser.sign_in()
    assert (answer.status_code == 303) is enters, answer.text


@pytest.mark.parametrize("claims", [{"exp": None}, {"iat": None}, {"exp": "4000000000"}, {"iat": True}])
async def test_item_07_times_are_numbers(browser: Browser, claims: dict[str, object]) -> None:
    browser.provider.fault("id_token", claims=claims)
    await refused(browser, await browser.sign_in())


async def test_item_07_an_access_token_is_no_id_token(browser: Browser) -> None:
    browser.provider.fault("id_token", header={"typ": "at+jwt"})
    await refused(browser, await browser.sign_in())


async def test_item_08_the_key_is_provider_and_subject(browser: Browser) -> None:
    await browser.sign_in("alice")
    (alice,) = await browser.users()
    # The same subject with another address and name is the same person, kept up to date.
    browser.provider.control("POST", "accounts", sub="1001", email="alice@new.example", name="Alice Newname")
    try:
        await browser.sign_in("alice")
        (same,) = await browser.users()
        assert (same.id, same.email, same.name) == (alice.id, "alice@new.example", "Alice Newname")
    finally:
        browser.provider.control("POST", "accounts", sub="1001", email="alice@example.com", name="Alice Example")
    await browser.sign_in("alice")
    # The same address with another subject is somebody else.
    await browser.sign_in("mallory")
    both = await browser.users()
    assert len(both) == 2
    assert {user.email.lower() for user in both} == {"alice@example.com"}
    actor = await _actor(browser)
    assert actor.user_id != alice.id


async def test_item_08_another_provider_is_somebody_else(open_site: Open) -> None:
    async with open_site({}, {"id": "other", "name": "Other"}) as site:
        await site.browser("lab").sign_in()
        await site.browser("other").sign_in()
        users = await site.browser().users()
        assert {(user.provider, user.subject) for user in users} == {("lab", "1001"), ("other", "1001")}


async def test_item_08_a_name_that_was_chosen_stays(browser: Browser) -> None:
    await browser.sign_in()
    await browser.platform.parts.accounts.rename(await _actor(browser), "Ali")
    await browser.sign_in()
    assert [user.name for user in await browser.users()] == ["Ali"]


async def test_item_08_userinfo_is_about_the_same_person(browser: Browser) -> None:
    browser.provider.fault("wrong_sub")
    await refused(browser, await browser.sign_in())
    browser.provider.fault("userinfo", claims={"sub": "1002"})
    await refused(browser, await browser.sign_in())


async def _actor(browser: Browser) -> Actor:
    actor = await browser.actor()
    assert actor is not None
    return actor


@pytest.mark.parametrize("fault", ["unverified_email", "string_email_verified"])
async def test_item_09_an_unverified_address_matches_nothing(open_site: Open, fault: str) -> None:
    async with open_site({"allowed": {"domains": ["example.com"]}}, admins=("alice@example.com",)) as site:
        browser = site.browser()
        site.provider.fault(fault)
        await refused(browser, await browser.sign_in(), "alice@example.com at Lab may not use this platform")
        answer = await site.browser().sign_in("dave")
        assert answer.status_code == 403
    async with open_site({}, admins=("alice@example.com",)) as site:
        browser = site.browser()
        site.provider.fault(fault)
        assert (await browser.sign_in()).status_code == 303
        (alice,) = await browser.users()
        assert (alice.role, alice.email_verified) == ("user", False)


@pytest.mark.parametrize("value", [False, "true", "True", 1, 0, None, [True], {"a": 1}], ids=str)
async def test_item_09_verified_is_the_boolean_true(open_site: Open, value: object) -> None:
    async with open_site({"allowed": {"people": ["alice@example.com"]}}) as site:
        site.provider.fault("userinfo", claims={"email_verified": value})
        site.provider.fault("id_token", claims={"email_verified": value})
        assert (await site.browser().sign_in()).status_code == 403


@pytest.mark.parametrize("wanted", VECTORS)
async def test_item_10_next_stays_on_our_host(browser: Browser, wanted: str) -> None:
    answer = await browser.sign_in(wanted=wanted)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_item_10_next_is_kept_when_it_is_ours(browser: Browser) -> None:
    answer = await browser.sign_in(wanted="/environments/1?tab=log#x")
    assert answer.headers["location"] == "/environments/1?tab=log#x"
    assert "next" not in query_of(await browser.way_there("/catalogue"))
