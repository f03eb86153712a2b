"""The API as a script meets it: who may call, what is answered, and how it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from asyncpg.pgproto import pgproto

from cmbcluster.bus.port import Ring
from cmbcluster.domain.actors import SYSTEM, Scope
from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.domain.tokens import token_of
from cmbcluster.http import standing
from cmbcluster.http.api.paging import answer
from cmbcluster.http.api.table import API_WAYS, BASE, ApiWay
from tests.http.conftest import HOME, Site
from tests.http.test_routes import _digest as digest

DECLARED = [way for way in API_WAYS if way.scope is not None]
LAUNCH = {"application": "tiny", "name": "planck"}


def address(way: ApiWay, environment: object = "nothing-here", application: str = "tiny") -> str:
    return BASE + way.path.replace("{environment}", str(environment)).replace("{application_id}", application)


def body_of(way: ApiWay) -> dict[str, str] | None:
    return {"POST /environments": LAUNCH, "PATCH /environments/{environment}": {"name": "other"}}.get(
        f"{way.method} {way.path}"
    )


def way_id(way: ApiWay) -> str:
    return f"{way.method} {way.path}"


async def ask(site: Site, way: ApiWay, headers: dict[str, str], **more: Any) -> httpx.Response:
    return await site.client.request(way.method, address(way, **more), headers=headers, json=body_of(way))


def test_only_the_description_is_public() -> None:
    assert {way.path for way in API_WAYS if way.scope is None} == {"/openapi.json", "/docs"}


@pytest.mark.parametrize("way", DECLARED, ids=way_id)
async def test_nobody_gets_in_without_a_token_or_a_session(site: Site, way: ApiWay) -> None:
    ours = {"Origin": HOME, "Sec-Fetch-Site": "same-origin"}
    for headers in ({}, {"Cookie": f"{SESSION_COOKIE}=forged"}):
        refused = await ask(site, way, ours | headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="CMBCluster"'
        assert refused.json()["title"] == "You are not signed in."
    good = (await site.token())["Authorization"]
    for shown in ("Bearer cmb_x", f"{good[:-1]}{'0' if good[-1] != '0' else '1'}", "Bearer ", "bearer\tx", "Basic x"):
        refused = await ask(site, way, ours | {"Authorization": shown})
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("way", DECLARED, ids=way_id)
@pytest.mark.parametrize("scope", list(Scope))
async def test_a_token_needs_the_scope_of_the_route(site: Site, way: ApiWay, scope: Scope) -> None:
    headers = await site.token("ravi", scope)
    answer = await ask(site, way, headers)
    if scope is way.scope:
        assert answer.status_code != 403
    else:
        assert answer.status_code == 403
        assert answer.json()["title"] == f"This token does not have the scope {way.scope}."


@pytest.mark.parametrize("way", [way for way in DECLARED if "{environment}" in way.path], ids=way_id)
async def test_anothers_environment_answers_like_a_missing_one(site: Site, way: ApiWay) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    headers = await site.token("ravi")
    before = await digest(site)
    told = []
    for reference in (environment.id, environment.slug, environment.name, uuid4(), "no-such", "%00", "%2e%2e"):
        answer = await ask(site, way, headers, environment=reference)
        told.append((answer.status_code, answer.json()["title"], answer.json()["detail"]))
    assert set(told) == {(404, "There is no such environment, or it is not yours.", "Go to Home.")}
    # The use of the token is all that was written.
    assert (await digest(site)).count("planck") == before.count("planck")


async def test_a_script_lives_a_whole_life(site: Site) -> None:
    headers = await site.token()
    made = await site.client.post(f"{BASE}/environments", json=LAUNCH, headers=headers)
    assert made.status_code == 201, made.text
    here = f"{BASE}/environments/planck"
    assert (await site.client.get(made.headers["location"], headers=headers)).json()["phase"] == "queued"
    await site.platform.settle()
    running = (await site.client.get(f"{here}/wait", headers=headers)).json()
    assert running["reached"] is True
    assert running["environment"]["phase"] == "running"
    slug = running["environment"]["slug"]
    assert (await site.client.get(f"{BASE}/environments/{slug}", headers=headers)).json()["name"] == "planck"
    first = (await site.client.get(here, headers=headers)).json()["deadline_at"]
    site.platform.advance(60)
    longer = await site.client.post(f"{here}/extend", headers=headers)
    assert longer.json()["deadline_at"] > first
    renamed = await site.client.patch(here, json={"name": "Planck Lensing"}, headers=headers)
    assert renamed.json()["name"] == "planck-lensing"
    here = f"{BASE}/environments/planck-lensing"
    assert (await site.client.post(f"{here}/stop", headers=headers)).json()["phase"] == "stopping"
    await site.platform.settle()
    assert (await site.client.get(f"{here}/wait?until=rest", headers=headers)).json()["reached"] is True
    assert (await site.client.post(f"{here}/start", headers=headers)).json()["phase"] == "queued"
    await site.platform.settle()
    unconfirmed = await site.client.delete(f"{here}?workspace=remove&confirm=planck", headers=headers)
    assert unconfirmed.status_code == 422
    assert unconfirmed.json()["field"] == "confirm"
    assert unconfirmed.json()["title"] == "That is not its name."
    gone = await site.client.delete(f"{here}?workspace=remove&confirm=planck-lensing", headers=headers)
    assert gone.status_code == 204
    await site.platform.settle()
    assert (await site.client.get(here, headers=headers)).status_code == 404
    entries = (await site.client.get(f"{BASE}/activity?kind=deleted", headers=headers)).json()["items"]
    assert [entry["detail"] for entry in entries] == ["Workspace removed, with the token laptop"]


async def test_the_same_key_launches_once(site: Site) -> None:
    headers = await site.token() | {"Idempotency-Key": "run-7"}
    path = f"{BASE}/environments"
    first, again = [await site.client.post(path, json=LAUNCH, headers=headers) for _ in range(2)]
    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]
    other = await site.client.post(path, json=LAUNCH | {"name": "other"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["field"] == "Idempotency-Key"
    # Keys belong to their person.
    theirs = await site.client.post(path, json=LAUNCH, headers=await site.token("ravi") | {"Idempotency-Key": "run-7"})
    assert theirs.status_code == 201
    assert theirs.json()["id"] != first.json()["id"]
    site.platform.advance(24 * 3600 + 60)
    late = await site.client.post(path, json=LAUNCH, headers=headers)
    assert late.json()["title"] == "You have an environment called planck already."
    for wrong in ("x" * 201, "a b", "tab\t."):
        refused = await site.client.post(path, json=LAUNCH, headers=headers | {"Idempotency-Key": wrong})
        assert refused.status_code == 422


async def test_two_launches_at_once_with_one_key_are_one(site: Site) -> None:
    headers = await site.token() | {"Idempotency-Key": "at-once"}
    path = f"{BASE}/environments"
    answers = await asyncio.gather(*(site.client.post(path, json=LAUNCH, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_refusals_have_the_sentences_of_the_pages(site: Site) -> None:
    headers, path = await site.token("ada"), f"{BASE}/environments"
    told = []
    for change in ({"name": ""}, {"size": "huge"}, {"uptime_seconds": 5}, {"size": "largest"}, {"application": "no"}):
        refused = await site.client.post(path, json=LAUNCH | change, headers=headers)
        problem = refused.json()
        told.append((refused.status_code, problem["code"], problem["title"], problem.get("field")))
    assert told == [
        (422, "invalid_input", "An environment needs a name.", "name"),
        (422, "invalid_input", "There is no such size.", "size"),
        (422, "invalid_input", "An environment runs for at least a minute.", "uptime_seconds"),
        (409, "quota_exceeded", "Your tier allows 2 CPU and 4 GiB each.", None),
        (404, "not_found", "There is no such application.", None),
    ]
    own = {"application": "custom", "name": "own", "custom": {"requirements": "-r x", "command": "x", "python": "3.12"}}
    refused = await site.client.post(path, json=own, headers=headers)
    assert refused.json()["field"] == "custom.requirements"
    for wrong in (b"{", b"[]", json.dumps(LAUNCH | {"nmae": "x"}).encode(), b'{"application": 1}', b"\xff"):
        refused = await site.client.post(path, content=wrong, headers=headers | {"Content-Type": "application/json"})
        assert refused.status_code == 422, wrong
        assert refused.json()["field"]
    assert (await site.client.post(path, json={"name": "x" * 70_000}, headers=headers)).status_code == 413


async def test_an_image_is_launched_and_shown(site: Site) -> None:
    headers, path = await site.token(), f"{BASE}/environments"
    own = {"application": "custom", "name": "own", "custom": {"image": "ghcr.io/team/app", "port": 8888}}
    made = (await site.client.post(path, json=own, headers=headers)).json()
    assert (made["image"], made["image_digest"], made["image_bytes"]) == ("ghcr.io/team/app:latest", "", 0)
    assert (made["requirements"], made["python"], made["command"], made["lock_digest"]) == ([], "", [], "")
    await site.platform.settle()
    found = (await site.client.get(f"{path}/own", headers=headers)).json()
    assert found["phase"] == "running"
    assert found["image_digest"].startswith("sha256:")
    assert found["image_bytes"] == 1200 * 1024**2
    for change, at in (({"image": "Team/App"}, "custom.image"), ({"requirements": "numpy"}, "custom.image")):
        wrong = own | {"name": "other", "custom": own["custom"] | change}  # type: ignore[operator]
        refused = await site.client.post(path, json=wrong, headers=headers)
        assert (refused.status_code, refused.json()["field"]) == (422, at)
    applications = (await site.client.get(f"{BASE}/applications", headers=headers)).json()["items"]
    assert {row["id"]: (row["custom"], row["takes_image"], row["unavailable"]) for row in applications} == {
        "custom": (True, True, ""),
        "tiny": (False, False, ""),
    }


async def test_the_page_of_settings_enters_an_account_whose_secret_comes_back_nowhere(site: Site) -> None:
    asked = {"registry": "ghcr.io", "username": "ada-l", "secret": "the-secret-word"}
    # A token of a script enters nothing.
    assert (await site.client.post("/api/registries", json=asked, headers=await site.token())).status_code == 403
    await site.sign_in()
    ours = {"Origin": HOME, "Sec-Fetch-Site": "same-origin"}
    made = await site.client.post("/api/registries", json=asked, headers=ours)
    assert (made.status_code, made.json()) == (201, {"registry": "ghcr.io", "username": "ada-l"})
    for change, at in (
        ({"registry": "elsewhere.example.org"}, "registry"),
        ({"username": ""}, "username"),
        ({"secret": ["the-secret-word"]}, "secret"),
        ({"secret": None}, "secret"),
    ):
        refused = await site.client.post("/api/registries", json=asked | change, headers=ours)
        assert (refused.status_code, refused.json()["field"]) == (422, at)
        assert "the-secret-word" not in refused.text
    for content in (b"{", b"[]", b"x" * 20_000, b"[" * 10_000):
        assert (await site.client.post("/api/registries", content=content, headers=ours)).status_code == 422
    elsewhere = {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}
    assert (await site.client.post("/api/registries", json=asked, headers=elsewhere)).status_code == 403
    assert "the-secret-word" not in await digest(site)


async def test_a_body_without_a_length_is_limited_too(site: Site) -> None:
    async def endless() -> Any:
        for _ in range(1000):
            yield b" " * 1024

    headers = await site.token() | {"Content-Type": "application/json"}
    assert (await site.client.post(f"{BASE}/environments", content=endless(), headers=headers)).status_code == 413


async def test_pages_give_every_row_once(site: Site) -> None:
    headers = await site.token()
    actor = await site.platform.sign_in("elena")
    names = [f"run-{letter}" for letter in "abcde"]
    for name in names:
        await site.platform.launch(actor, name)
        await site.platform.settle()
    found, path = [], f"{BASE}/environments?limit=2"
    while path:
        answer = await site.client.get(path, headers=headers)
        found += [row["name"] for row in answer.json()["items"]]
        link = answer.headers.get("link", "")
        assert bool(link) == bool(answer.json()["next"])
        path = link.partition(">")[0].removeprefix("<")
        if len(found) == 2:
            await site.platform.parts.environments.delete(
                actor,
                (await site.platform.parts.environments.page(actor, search="run-e")).rows[0].id,
                typed_name="",
                remove_workspace=False,
            )
            await site.platform.settle()
    assert found == names[::-1]
    for cursor in ("x", "%ff", "AAAA", "a" * 101):
        assert (await site.client.get(f"{BASE}/environments?cursor={cursor}", headers=headers)).status_code == 422


async def test_waiting_ends_with_the_change_and_not_before(site: Site) -> None:
    headers = await site.token()
    view = await site.platform.launch(await site.platform.sign_in("elena"))
    path = f"{BASE}/environments/{view.id}/wait?timeout_seconds=20"
    waiting = asyncio.create_task(site.client.get(path, headers=headers))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await site.platform.settle()
    answer = (await asyncio.wait_for(waiting, 5)).json()
    assert answer["reached"] is True
    short = await site.client.get(f"{BASE}/environments/{view.id}/wait?until=rest&timeout_seconds=0.1", headers=headers)
    assert short.json()["reached"] is False
    assert (
        await site.client.get(f"{BASE}/environments/{view.id}/wait?timeout_seconds=61", headers=headers)
    ).status_code == 422


async def test_waiting_and_following_end_with_the_token(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "ASK_AGAIN_SECONDS", 30)
    elena = await site.platform.sign_in("elena")
    view = await site.platform.launch(elena)
    headers = await site.token()
    (token,) = await site.platform.parts.api_tokens.mine(elena)
    here = f"{BASE}/environments/{view.id}"
    waiting = asyncio.create_task(site.client.get(f"{here}/wait?timeout_seconds=20", headers=headers))
    await site.platform.settle()
    assert (await waiting).json()["reached"] is True
    resting = asyncio.create_task(site.client.get(f"{here}/wait?until=rest&timeout_seconds=20", headers=headers))
    following = asyncio.create_task(site.client.get(f"{here}/logs?follow=1", headers=headers))
    await asyncio.sleep(0.2)
    assert not resting.done()
    assert not following.done()
    await site.platform.parts.api_tokens.revoke(elena, token.id)
    assert (await asyncio.wait_for(resting, 2)).status_code == 401
    lines = (await asyncio.wait_for(following, 2)).text.splitlines()
    assert all(set(json.loads(line)) == {"at", "text", "offset"} for line in lines)


async def test_a_token_that_rests_says_how_to_wake_it(site: Site) -> None:
    headers = await site.token()
    settings = site.platform.parts.settings
    object.__setattr__(settings, "identity", "oidc")
    assert (await site.client.get(f"{BASE}/me", headers=headers)).status_code == 200
    site.platform.advance(settings.sign_in_again_seconds + 1)
    # It is no guess, so it is not counted like one.
    for _ in range(40):
        answer = await site.client.get(f"{BASE}/me", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["title"] == "This token rests, since its person has not signed in for a long time."
    assert answer.json()["detail"] == "Sign in once with a browser; the token works again then."
    await site.platform.sign_in("elena")
    assert (await site.client.get(f"{BASE}/me", headers=headers)).status_code == 200


@pytest.mark.parametrize("ends", ["ring", "gap"])
async def test_following_outlives_a_gap_of_the_bus_and_no_disabling(
    site: Site, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """A ring about nothing in particular ends nothing by itself, but is a reason to ask again at once."""
    monkeypatch.setattr(standing, "ASK_AGAIN_SECONDS", 30)
    elena = await site.platform.sign_in("elena")
    view = await site.platform.launch(elena)
    headers = await site.token()
    (token,) = await site.platform.parts.api_tokens.mine(elena)
    gap = Ring(f"token:{token.id}")
    here = f"{BASE}/environments/{view.id}"
    await site.platform.settle()
    following = asyncio.create_task(site.client.get(f"{here}/logs?follow=1", headers=headers))
    resting = asyncio.create_task(site.client.get(f"{here}/wait?until=rest&timeout_seconds=20", headers=headers))
    for _ in range(2):
        await asyncio.sleep(0.2)
        await site.platform.bus.publish(gap)
    await asyncio.sleep(0.2)
    assert not following.done()
    assert not resting.done()
    with monkeypatch.context() as patched:
        if ends == "gap":
            # The rings of the disabling are lost, and later it is only known that some were.
            async def lost(_: object) -> None:
                return None

            patched.setattr(site.platform.bus, "publish", lost)
        await site.platform.parts.accounts.disable(SYSTEM, elena.person())
    if ends == "gap":
        await site.platform.bus.publish(gap)
    await asyncio.wait_for(following, 2)
    assert (await asyncio.wait_for(resting, 2)).status_code == 401


async def test_waiting_looks_again_after_a_gap_of_the_bus(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    elena = await site.platform.sign_in("elena")
    view = await site.platform.launch(elena)
    headers = await site.token()
    waiting = asyncio.create_task(
        site.client.get(f"{BASE}/environments/{view.id}/wait?timeout_seconds=20", headers=headers)
    )
    await asyncio.sleep(0.2)
    with monkeypatch.context() as patched:

        async def lost(_: object) -> None:
            return None

        patched.setattr(site.platform.bus, "publish", lost)
        await site.platform.settle()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await site.platform.bus.publish(Ring(f"user:{elena.user_id}"))
    assert (await asyncio.wait_for(waiting, 2)).json()["reached"] is True


async def test_a_token_is_judged_alone_and_a_cookie_by_where_it_comes_from(site: Site) -> None:
    await site.sign_in("elena")
    cookie = {"Cookie": f"{SESSION_COOKIE}={site.client.cookies[SESSION_COOKIE]}"}
    site.client.cookies.clear()
    path = f"{BASE}/environments"
    assert (await site.client.get(f"{BASE}/me", headers=cookie)).json()["scopes"] is None
    assert (await site.client.get(f"{BASE}/me", headers=cookie | {"Authorization": "Bearer cmb_x"})).status_code == 401
    as_ravi = await site.client.get(f"{BASE}/me", headers=cookie | await site.token("ravi"))
    assert as_ravi.json()["name"] == "Ravi Nair"
    # A page of another site sends the cookie, but cannot send a token, and neither with both.
    evil = {"Origin": "http://evil.example"}
    assert (await site.client.post(path, json=LAUNCH, headers=cookie | evil)).status_code == 403
    assert (await site.client.post(path, json=LAUNCH, headers=cookie)).status_code == 403
    both = cookie | evil | await site.token()
    assert (await site.client.post(path, json=LAUNCH, headers=both)).status_code == 403
    ours = cookie | {"Origin": HOME, "Sec-Fetch-Site": "same-origin"}
    assert (await site.client.post(path, json=LAUNCH, headers=ours)).status_code == 201
    # Elsewhere a token opens nothing.
    token = await site.token()
    assert (await site.client.get("/api/activity.csv", headers=token)).status_code == 401
    assert (await site.client.post("/api/tokens", json={}, headers=token)).status_code == 403
    assert (await site.client.post("/auth/sign-out", headers=token)).status_code == 403


async def test_two_authorizations_are_none(site: Site) -> None:
    (good,) = (await site.token()).values()
    headers = [("Authorization", good), ("Authorization", good)]
    assert (await site.client.get(f"{BASE}/me", headers=headers)).status_code == 401


async def test_the_page_of_settings_makes_a_token_that_is_told_once(site: Site) -> None:
    await site.sign_in("elena")
    ours = {"Sec-Fetch-Site": "same-origin", "Origin": HOME}
    asked = {"name": "laptop", "scopes": ["read"], "days": 30}
    made = await site.client.post("/api/tokens", json=asked, headers=ours)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    secret = made.json()["token"]
    assert (await site.client.get(f"{BASE}/me", headers={"Authorization": f"Bearer {secret}"})).json()["scopes"] == [
        "read"
    ]
    assert secret not in await digest(site)
    for change, field in (
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"days": 8}, "expiry"),
        ({"days": True}, "expiry"),
    ):
        refused = await site.client.post("/api/tokens", json=asked | change, headers=ours)
        assert (refused.status_code, refused.json()["field"]) == (422, field), change
    for content in (b"{", b"[]", b"[" * 5000):
        assert (await site.client.post("/api/tokens", content=content, headers=ours)).status_code == 422


async def test_the_document_and_its_page(site: Site) -> None:
    api = (await site.client.get(f"{BASE}/openapi.json")).json()
    told = {(path, method.upper()) for path, ways in api["paths"].items() for method in ways}
    assert told == {(way.path, way.method) for way in DECLARED}
    page = await site.client.get(f"{BASE}/docs")
    assert "script" not in page.text.replace("scripts", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for way in DECLARED:
        assert f"<b>{way.method}</b> <code>{BASE}{way.path}</code>" in page.text


async def test_a_get_changes_nothing_but_the_last_use(site: Site) -> None:
    view = await site.platform.running(await site.platform.sign_in("elena"))
    headers = await site.token()
    await site.client.get(f"{BASE}/me", headers=headers)
    before = await digest(site)
    for way in API_WAYS:
        if way.method == "GET":
            path = address(way, view.id) + ("?timeout_seconds=0" if way.path.endswith("wait") else "")
            assert (await site.client.get(path, headers=headers)).status_code == 200, path
    assert await digest(site) == before


async def test_guessing_and_asking_without_end_are_refused_with_the_time_to_wait(site: Site) -> None:
    for shown, most in ({"Authorization": f"Bearer {token_of(1)}"}, 40), (await site.token(), 700):
        for _ in range(most):
            answer = await site.client.get(f"{BASE}/me", headers=shown)
            if answer.status_code == 429:
                break
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["code"] == "too_many_requests"
    # Somebody who guesses at the same address does not lock the others out.
    assert (await site.client.get(f"{BASE}/me", headers=await site.token("ada"))).status_code == 200


def test_ids_as_postgresqls_driver_has_them_are_written() -> None:
    told = answer({"id": pgproto.UUID("01900000-0000-7000-8000-000000000000")})
    assert json.loads(bytes(told.body)) == {"id": "01900000-0000-7000-8000-000000000000"}
    with pytest.raises(TypeError):
        answer({"id": object()})
