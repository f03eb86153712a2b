"""Our routes: who may use them, what they answer, and that only the declared ones change anything."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import logging
from collections.abc import Sequence
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Message

from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.errors import DatabaseUnavailable, TooManyRequests
from cmbcluster.http import standing
from cmbcluster.http.api.table import API_WAYS, BASE
from cmbcluster.http.routes import WAYS, Permission
from cmbcluster.wiring import set_parts
from tests.http.conftest import HOME, Site


def _served(routes: Sequence[BaseRoute]) -> set[tuple[str, str]]:
    """Path and method of each route."""
    found: set[tuple[str, str]] = set()
    for route in routes:
        assert isinstance(route, Route)
        found |= {(route.path, method) for method in route.methods or ()}
    return found


def test_every_registered_route_is_declared(site: Site) -> None:
    declared = {(way.path, way.method) for way in WAYS}
    for route in site.routes.routes:
        if isinstance(route, Mount):
            assert route.path == BASE
            declared_there = {(way.path, way.method) for way in API_WAYS}
            assert _served(route.routes) == declared_there
            continue
        assert isinstance(route, Route)
        methods = (route.methods or set()) - {"HEAD"}
        assert {(route.path, method) for method in methods} <= declared, f"{route.path} declares no permission"


def _address(path: str) -> str:
    return (
        path.replace("{environment_id:uuid}", str(uuid4()))
        .replace("{environment}", str(uuid4()))
        .replace("{path:path}", "some/thing")
        .replace("{provider}", "lab")
    )


async def test_signed_in_ways_refuse_everybody_else(site: Site) -> None:
    ways = [way for way in WAYS if way.permission is Permission.SIGNED_IN]
    assert len(ways) >= 3
    for way in ways:
        for cookie in ("", "forged-value"):
            headers = {"Sec-Fetch-Site": "same-origin", "Origin": HOME}
            headers |= {"Cookie": f"{SESSION_COOKIE}={cookie}"} if cookie else {}
            answer = await site.client.request(way.method, _address(way.path), headers=headers)
            assert answer.status_code == 401, way.path
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["title"] == "You are not signed in."
            assert answer.json()["operation_id"] == answer.headers["x-request-id"]


async def _digest(site: Site) -> str:
    """All that the database holds."""
    held = []
    async with site.platform.parts.database.reading() as work:
        connection = await work.users._session.connection()
        for (table,) in (await connection.execute(text("select name from sqlite_master where type='table'"))).all():
            rows = (await connection.execute(text(f'select * from "{table}"'))).all()  # noqa: S608 - a name of our own
            held.append((table, sorted(str(row) for row in rows)))
    return json.dumps(sorted(held))


async def test_no_get_changes_anything_unless_declared(site: Site) -> None:
    actor = await site.platform.sign_in("elena")
    environment = await site.platform.running(actor)
    await site.sign_in("elena")
    for way in WAYS:
        # Coming back from a provider needs one; tests/oidc looks at what it changes and when.
        if way.method != "GET" or way.path == "/auth/{provider}/callback":
            continue
        path = way.path.replace("{environment_id:uuid}", str(environment.id)).replace(
            "{environment}", str(environment.id)
        )
        before = await _digest(site)
        await site.client.get(path.replace("{path:path}", "x"))
        assert ((await _digest(site)) != before) == way.changes, way.path
        await site.client.head(path.replace("{path:path}", "x"))


async def test_head_makes_no_code(site: Site) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    await site.sign_in("elena")
    before = await _digest(site)
    assert (await site.client.head(f"/open/{environment.id}")).status_code == 405
    assert await _digest(site) == before


async def test_sign_in_sets_a_private_cookie_and_out_ends_it(site: Site) -> None:
    entered = await site.sign_in("ada", next="/catalogue?x=1")
    assert entered.status_code == 303
    assert entered.headers["location"] == "/catalogue?x=1"
    cookie = entered.headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "domain" not in cookie.lower()
    token = cookie.partition("=")[2].partition(";")[0]
    actor = await site.platform.parts.sessions.find(token)
    assert actor is not None
    assert actor.name == "Ada Lovell"
    assert (await site.client.get("/api/activity.csv")).status_code == 200
    left = await site.post("/auth/sign-out")
    assert left.status_code == 303
    assert left.headers["clear-site-data"] == '"cookies"'
    assert "Max-Age=0" in left.headers["set-cookie"]
    replayed = await site.client.get("/api/activity.csv", headers={"Cookie": f"{SESSION_COOKIE}={token}"})
    assert replayed.status_code == 401


async def test_signing_in_again_ends_the_session_of_the_old_cookie(site: Site) -> None:
    first = (await site.sign_in("ada")).headers["set-cookie"].partition("=")[2].partition(";")[0]
    second = (await site.sign_in("elena")).headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert first != second
    assert await site.platform.parts.sessions.find(first) is None
    assert await site.platform.parts.sessions.find(second) is not None


async def test_sign_in_takes_known_people_and_small_forms_only(site: Site) -> None:
    unknown = await site.sign_in("mallory")
    assert unknown.status_code == 404
    assert unknown.json()["title"] == "There is no such person."
    assert "set-cookie" not in unknown.headers
    assert (await site.sign_in("x" * 9000)).status_code == 422
    assert (await site.client.get("/auth/development")).status_code == 404


async def test_open_goes_to_the_environment_with_a_code(site: Site) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    signed_out = await site.client.get(f"/open/{environment.id}")
    assert signed_out.headers["location"] == f"/?next=%2Fopen%2F{environment.id}"
    await site.sign_in("elena")
    for word in (environment.id, environment.slug):
        opened = await site.client.get(f"/open/{word}")
        assert opened.status_code == 303
        assert opened.headers["location"].startswith(f"http://{environment.slug}.localhost:8200/.cmb/enter?code=")
        assert opened.headers["cache-control"] == "no-store"


async def test_open_says_the_same_of_missing_and_foreign(site: Site) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    await site.sign_in("ada")
    foreign = await site.client.get(f"/open/{environment.id}")
    missing = await site.client.get(f"/open/{uuid4()}")
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.text == missing.text
    assert "There is no such environment, or it is not yours" in foreign.text


async def test_logs_stream_and_download(site: Site) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    await site.sign_in("elena")
    lines = [
        line
        async for line in site.platform.parts.insights.logs(
            await site.platform.sign_in("elena"), environment.id, offset=0, follow=False
        )
    ]
    assert lines
    streamed = await site.client.get(f"/api/environments/{environment.id}/log")
    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in streamed.text.splitlines()] == [
        {"at": line.at.isoformat() if line.at else None, "text": line.text, "offset": line.offset} for line in lines
    ]
    saved = await site.client.get(f"/api/environments/{environment.id}/log/download")
    assert saved.text == "".join(f"{line.text}\n" for line in lines)
    assert saved.headers["content-disposition"].startswith('attachment; filename="planck ')
    assert saved.headers["content-security-policy"].startswith("sandbox")
    nothing = await site.client.get(f"/api/environments/{environment.id}/log?previous=1")
    assert (nothing.status_code, nothing.text) == (200, ""), "there was no run before"
    for offset in ("one", "9" * 20, "-" + "9" * 19, "9" * 5000):
        bad = await site.client.get(f"/api/environments/{environment.id}/log?offset={offset}")
        assert bad.status_code == 422, offset
        assert bad.json()["field"] == "offset"


async def test_what_the_run_before_said_is_read_apart(site: Site) -> None:
    platform, elena = site.platform, await site.platform.sign_in("elena")
    environment = await platform.running(elena)
    await site.sign_in("elena")
    here = f"/api/environments/{environment.id}/log"
    said = (await site.client.get(here)).text
    assert said
    await platform.parts.environments.stop(elena, environment.id)
    await platform.settle()
    again = await platform.parts.environments.start(elena, environment.id)
    assert again.has_previous_run
    # It is over, so there is nothing to wait for.
    assert (await site.client.get(f"{here}?previous=1&follow=1")).text.startswith(said)
    assert (await site.client.get(here)).text == ""
    saved = await site.client.get(f"{here}/download?previous=1")
    assert saved.text.startswith(json.loads(said.splitlines()[0])["text"])
    assert saved.headers["content-disposition"].startswith('attachment; filename="planck before ')


@pytest.mark.parametrize("path", ["log", "log?follow=1", "log/download"])
async def test_a_person_reads_no_more_logs_at_once_than_anybody_may(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    await site.sign_in("elena")
    monkeypatch.setattr(standing, "MOST_FOLLOWED", 0)
    assert (await site.client.get(f"/api/environments/{environment.id}/{path}")).status_code == 429


async def _follow(site: Site, environment_id: object, heard: asyncio.Event) -> None:
    """A reader that follows the output until the answer ends; the test client would wait for the end."""
    cookie = f"{SESSION_COOKIE}={site.client.cookies[SESSION_COOKIE]}"
    path = f"/api/environments/{environment_id}/log"
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"follow=1",
        "headers": [(b"host", b"localhost:8200"), (b"cookie", cookie.encode())], "scheme": "http",
        "client": ("127.0.0.1", 50000), "server": ("localhost", 8200), "http_version": "1.1", "root_path": "",
    }  # fmt: skip

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message.get("body"):
            heard.set()

    await site.app(scope, receive, send)


@pytest.mark.parametrize("rings", [True, False])
async def test_a_followed_log_ends_with_the_sign_in(site: Site, monkeypatch: pytest.MonkeyPatch, rings: bool) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    await site.sign_in("elena")
    if not rings:
        # A ring may be lost; then the next look at the session ends it.
        monkeypatch.setattr(standing, "ASK_AGAIN_SECONDS", 0.1)

        async def lost(_: object) -> None:
            return None

        monkeypatch.setattr(site.platform.bus, "publish", lost)
    heard = asyncio.Event()
    following = asyncio.create_task(_follow(site, environment.id, heard))
    await asyncio.wait_for(heard.wait(), 5)
    await asyncio.sleep(0.3)
    assert not following.done()
    await site.post("/auth/sign-out")
    await asyncio.wait_for(following, 2)


async def test_logs_of_others_are_not_there(site: Site) -> None:
    environment = await site.platform.running(await site.platform.sign_in("elena"))
    await site.sign_in("ada")
    for end in ("log", "log/download"):
        foreign = await site.client.get(f"/api/environments/{environment.id}/{end}")
        missing = await site.client.get(f"/api/environments/{uuid4()}/{end}")
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json()["title"] == missing.json()["title"]


async def test_activity_export_is_a_table_without_formulas(site: Site) -> None:
    await site.sign_in("elena")
    actor = await site.platform.parts.sessions.find(site.client.cookies[SESSION_COOKIE])
    assert actor is not None
    await site.platform.parts.accounts.rename(actor, '=HYPERLINK("http://evil.example","x")')
    saved = await site.client.get("/api/activity.csv")
    assert saved.headers["content-type"] == "text/csv; charset=utf-8"
    head, *rows = csv.reader(io.StringIO(saved.text))
    assert head[:3] == ["time_utc", "kind", "by"]
    assert {row[1] for row in rows} == {"signed_in", "profile_changed"}
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row)


async def test_health_and_unknown_addresses(site: Site) -> None:
    assert (await site.client.get("/healthz")).json()["status"] == "ok"
    for path in ("/api/nothing", "/auth/nothing", "/api/environments/not-an-id/log"):
        lost = await site.client.get(path)
        assert lost.status_code == 404
        assert lost.headers["content-type"] == "application/problem+json"
    set_parts(None)
    assert (await site.client.get("/healthz")).status_code == 503


async def test_every_cell_of_the_export_is_quoted(site: Site) -> None:
    await site.sign_in("elena")
    exported = (await site.client.get("/api/activity.csv")).text.splitlines()
    assert len(exported) > 1
    assert all(line.startswith('"') and line.endswith('"') and line.count('","') == 7 for line in exported)


async def test_errors_are_sentences_and_tell_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await site.sign_in("elena")

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("cannot connect to db.internal")

    monkeypatch.setattr(type(site.platform.parts.environments), "get", fail)
    with caplog.at_level(logging.CRITICAL):
        broken = await site.client.get(f"/api/environments/{uuid4()}/log")
    assert broken.status_code == 500
    assert "secret detail" not in broken.text
    assert broken.json()["operation_id"]
    monkeypatch.setattr(type(site.platform.parts.environments), "get", away)
    unavailable = await site.client.get(f"/api/environments/{uuid4()}/log")
    assert unavailable.status_code == 503
    assert "db.internal" not in unavailable.text


async def test_answers_with_a_persons_data_are_not_kept(site: Site) -> None:
    await site.sign_in("elena")
    answers: list[httpx.Response] = [
        await site.client.get(path) for path in ("/api/activity.csv", "/healthz", "/open/x")
    ]
    assert [answer.headers["cache-control"] for answer in answers] == ["no-store"] * 3
    assert all(HOME not in answer.headers.get("access-control-allow-origin", "") for answer in answers)


async def test_too_many_sign_ins_from_an_address_are_put_off(site: Site) -> None:
    for _ in range(60):
        assert (await site.sign_in("ada")).status_code == 303
    answer = await site.sign_in("ada")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert answer.json()["title"] == "That was too often in a short time."


async def test_nobody_follows_without_end(site: Site) -> None:
    actor = await site.platform.sign_in("elena")
    with contextlib.ExitStack() as held:
        for _ in range(standing.MOST_FOLLOWED):
            standing.check_followed(actor)
            held.enter_context(standing.followed(actor))
        with pytest.raises(TooManyRequests):
            standing.check_followed(actor)
        standing.check_followed(await site.platform.sign_in("ada"))
    standing.check_followed(actor)
