"""The matrix over HTTP: every registered route, as every actor, about own, somebody else's and missing objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from cmbcluster.domain.actors import Scope
from tests.security.actors import ARRIVALS, INSIDERS, OUTSIDERS, TOKENS, Things, World
from tests.security.assembled import browser, registered, shows
from tests.security.conftest import database_file
from tests.security.digests import changes, content_of
from tests.security.expectations import MISSING, NEVER_WAS, OTHER, OWN
from tests.security.test_services import WHICH, forgive_rates, objects

pytestmark = pytest.mark.asyncio(loop_scope="package")
PUBLIC, SESSION, READ, LAUNCH = "public", "session", "read", "launch"
# Of an answer, what is drawn anew each time.
DRAWN = re.compile(r'"operation_id":\s*"[0-9a-f]{16}"|(?:/|%2F)[0-9a-f-]{36}')


@dataclass(frozen=True)
class Asked:
    """How a route is asked, and who may. ``owned``: it names an object that somebody owns."""

    who: str
    owned: bool = False
    path: str = ""
    more: dict[str, Any] = field(default_factory=dict)


API = "/api/v1"
ONE = API + "/environments/{environment}"
ROUTES: dict[tuple[str, str], Asked] = {
    ("/healthz", "GET"): Asked(PUBLIC),
    ("/auth/development", "POST"): Asked(PUBLIC, more={"data": {"person": "nobody"}}),
    ("/auth/sign-out", "POST"): Asked(PUBLIC),
    ("/auth/standing", "GET"): Asked(SESSION),
    ("/auth/standing", "POST"): Asked(SESSION),
    ("/auth/{provider}/start", "POST"): Asked(PUBLIC),
    ("/auth/{provider}/link", "POST"): Asked(SESSION),
    ("/auth/{provider}/callback", "GET"): Asked(PUBLIC),
    ("/open/{environment}", "GET"): Asked(PUBLIC, owned=True),
    ("/api/environments/{environment_id:uuid}/log", "GET"): Asked(SESSION, owned=True),
    ("/api/environments/{environment_id:uuid}/log/download", "GET"): Asked(SESSION, owned=True),
    ("/api/tokens", "POST"): Asked(SESSION, more={"json": {"name": "x", "scopes": ["read"], "days": 7}}),
    ("/api/registries", "POST"): Asked(SESSION, more={"json": {"registry": "ghcr.io", "username": "x", "secret": "y"}}),
    ("/api/activity.csv", "GET"): Asked(SESSION),
    ("/api/{path:path}", "GET"): Asked(PUBLIC),
    ("/auth/{path:path}", "GET"): Asked(PUBLIC),
    (f"{API}/me", "GET"): Asked(READ),
    (f"{API}/applications", "GET"): Asked(READ),
    (f"{API}/applications/{{application_id}}", "GET"): Asked(READ),
    (f"{API}/environments", "GET"): Asked(READ),
    (f"{API}/environments", "POST"): Asked(LAUNCH, more={"json": {"application": "tiny", "name": "over-the-wire"}}),
    (ONE, "GET"): Asked(READ, owned=True),
    (ONE, "PATCH"): Asked(LAUNCH, owned=True, more={"json": {"name": "taken-over"}}),
    (ONE, "DELETE"): Asked(LAUNCH, owned=True),
    (f"{ONE}/wait", "GET"): Asked(READ, owned=True, more={"params": {"timeout_seconds": 0}}),
    (f"{ONE}/logs", "GET"): Asked(READ, owned=True),
    (f"{ONE}/stop", "POST"): Asked(LAUNCH, owned=True),
    (f"{ONE}/start", "POST"): Asked(LAUNCH, owned=True),
    (f"{ONE}/extend", "POST"): Asked(LAUNCH, owned=True),
    (f"{API}/activity", "GET"): Asked(READ),
    (f"{API}/openapi.json", "GET"): Asked(PUBLIC),
    (f"{API}/docs", "GET"): Asked(PUBLIC),
}


async def test_every_route_is_listed(world: World) -> None:
    found = registered()
    assert len(found) > 25
    assert found == ROUTES.keys(), f"unlisted: {found - ROUTES.keys()}; gone: {ROUTES.keys() - found}"


def address(path: str, things: Things) -> str:
    """The route's path about these things."""
    values = {"environment": things.running, "environment_id:uuid": things.running, "application_id": "tiny"}
    values |= {"provider": "lab", "path:path": "some/thing"}
    return re.sub(r"\{([^}]+)\}", lambda found: str(values[found[1]]), path)


def lets_in(asked: Asked, who: str) -> bool:
    """Whether this actor is somebody to this route."""
    if who in OUTSIDERS:
        return asked.who == PUBLIC
    if who in TOKENS:
        return asked.who == PUBLIC or (asked.who in (READ, LAUNCH) and Scope(asked.who) in TOKENS[who])
    return True


async def ask(client: httpx.AsyncClient, world: World, route: tuple[str, str], who: str, which: str) -> httpx.Response:
    await forgive_rates(world)
    path, method = route
    headers = shows(world, who)
    return await client.request(
        method, address(path, objects(world, who, which)), headers=headers, **ROUTES[route].more
    )


def said(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, address and body, without what is drawn anew each time or was asked for."""
    return answer.status_code, DRAWN.sub("", answer.headers.get("location", "")), DRAWN.sub("", answer.text)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[1]} {route[0]}")
async def test_who_may(world: World, route: tuple[str, str]) -> None:
    asked, file = ROUTES[route], database_file(world)
    cells = [(who, which) for who in ARRIVALS for which in (WHICH if asked.owned else (OWN,))]
    # What must be refused is asked first, so that nothing that was allowed explains a change.
    cells.sort(key=lambda cell: lets_in(asked, cell[0]) and cell[1] == OWN)
    answers: dict[tuple[str, str], tuple[int, str, str]] = {}
    async with browser(world) as client:
        for who, which in cells:
            before = content_of(file)
            answers[who, which] = told = said(await ask(client, world, route, who, which))
            assert told[0] < 500, told
            assert "Traceback" not in told[2]
            if not lets_in(asked, who):
                assert told[0] in refusals(asked, route[1], who), f"{who}: {told}"
            elif asked.owned and which != OWN:
                # A page that takes anybody sends a visitor to sign in, whatever it was asked for.
                opens = asked.who == PUBLIC and (who not in INSIDERS or (who, which) == ("guest", OTHER))
                assert told[0] == (303 if opens else 404), told
                if opens and who == "guest":
                    continue
            else:
                continue
            assert changes(before, content_of(file)) == [], f"{route} refused {who} and changed something"
            marks = [mark for mark in objects(world, who, OTHER).names if mark in told[2] + told[1]]
            assert marks == [], f"{route} shows {who} {marks}"
    if asked.owned:
        for who in ARRIVALS:
            if who == "guest" and asked.who == PUBLIC:
                assert "/.cmb/enter" in answers[who, OTHER][1]
                continue
            assert answers[who, OTHER] == answers[who, MISSING], f"{route} tells {who} somebody else's from missing"
        assert answers["owner", OWN][0] < 400 or answers["owner", OWN][0] == 409


def refusals(asked: Asked, method: str, who: str) -> tuple[int, ...]:
    """How a route may say no to this actor."""
    if "token" not in who:
        return (401,)
    if asked.who == SESSION:
        # Our pages take no token; what changes something is refused before, as not from our page.
        return (403,) if method == "POST" else (401,)
    return (403,) if who in TOKENS else (401,)


async def test_the_same_for_a_word_that_is_no_id(world: World) -> None:
    """Names and the words of addresses are looked up as well, and say no more."""
    async with browser(world) as client:
        for path in ("/open/{}", f"{API}/environments/{{}}", f"{API}/environments/{{}}/logs"):
            told = []
            for word in (
                world.things["owner"].slug,
                world.things["owner"].names[0],
                "never-was",
                str(NEVER_WAS.running),
            ):
                answer = await client.get(path.format(word), headers=shows(world, "stranger"))
                told.append((answer.status_code, DRAWN.sub("", answer.text)))
            assert len(set(told)) == 1, told
            assert told[0][0] == 404


async def test_no_other_site_changes_anything_anywhere(world: World) -> None:
    """Signing in, signing out and linking included: the walk knows no exception."""
    elsewhere = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    async with browser(world) as client:
        asked = 0
        for (path, method), way in ROUTES.items():
            if method == "GET":
                continue
            asked += 1
            before = content_of(database_file(world))
            headers = shows(world, "owner") | elsewhere
            answer = await client.request(method, address(path, world.things["owner"]), headers=headers, **way.more)
            assert answer.status_code == 403, path
            assert changes(before, content_of(database_file(world))) == [], path
            # Not even with a token that was slipped in beside the cookie.
            headers["Authorization"] = f"Bearer {world.secrets['owner']}"
            answer = await client.request(method, address(path, world.things["owner"]), headers=headers, **way.more)
            assert answer.status_code == 403, path
        assert asked > 8


async def test_no_other_site_may_read_anything(world: World) -> None:
    async with browser(world) as client:
        for path, method in ROUTES:
            for asked in (method, "OPTIONS"):
                headers = shows(world, "owner") | {
                    "Origin": "http://evil.example",
                    "Access-Control-Request-Method": method,
                    "Access-Control-Request-Headers": "authorization",
                }
                answer = await client.request(asked, address(path, world.things["owner"]), headers=headers)
                allowed = [name for name in answer.headers if name.startswith("access-control-allow")]
                assert allowed == [], f"{asked} {path}"


# Each makes something for the person who asks, and says why beside its declaration.
CHANGING_GETS = {("/open/{environment}", "GET"), ("/auth/{provider}/callback", "GET")}


async def test_no_get_changes_anything(world: World) -> None:
    async with browser(world) as client:
        for route in ROUTES.keys() - CHANGING_GETS:
            if route[1] != "GET":
                continue
            before = content_of(database_file(world))
            answer = await ask(client, world, route, "owner", OWN)
            assert answer.status_code in (200, 404), route
            assert changes(before, content_of(database_file(world))) == [], route


NEVER_FROM_OUTSIDE = {
    "owner_id": "x", "owner": "x", "user_id": "x", "role": "admin", "tier": "premium", "id": str(NEVER_WAS.running),
    "phase": "running", "desired": "running", "endpoint_host": "10.0.0.1", "endpoint_port": 22, "slug": "chosen",
    "processes": 1_000_000, "workspace_bytes": 1 << 50, "generation": 9, "scopes": ["admin"],
}  # fmt: skip


async def test_only_listed_fields_are_written(world: World) -> None:
    owner, file = world.things["owner"], database_file(world)
    body = {"application": "tiny", "name": "mass-assigned"} | NEVER_FROM_OUTSIDE
    async with browser(world) as client:
        for method, path, given in (
            ("POST", f"{API}/environments", body),
            ("PATCH", f"{API}/environments/{owner.running}", {"name": "renamed"} | NEVER_FROM_OUTSIDE),
        ):
            await forgive_rates(world)
            before = content_of(file)
            answer = await client.request(method, path, json=given, headers=shows(world, "owner"))
            assert answer.status_code in (200, 201, 422)
            told = " ".join(changes(before, content_of(file)))
            for wrong in ("10.0.0.1", "chosen", "1125899906842624", "1000000", str(NEVER_WAS.running).replace("-", "")):
                assert wrong not in told, wrong
            assert not [each for each in changes(before, content_of(file)) if each.startswith("users")]
