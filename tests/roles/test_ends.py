"""What is taken away at one replica while sockets are open through the other one, without a bus between them (F22)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from cmbcluster.domain.actors import SYSTEM, Role
from cmbcluster.domain.gate import SESSION_COOKIE
from tests.roles.conftest import Roles
from tests.roles.pairs import HERE, THERE, Office, Pairs
from tests.security.hostile import HYDRATE, Hostile

ENDS_SECONDS = 60.0
REFUSED_SECONDS = 10.0
IN = '"who_rx_state_": "in"'


@pytest.fixture
async def pairs(roles: Roles, pages: None) -> Pairs:
    made = Pairs(roles)
    await made.start()
    return made


@pytest.fixture
async def office(pairs: Pairs) -> AsyncIterator[Office]:
    settings = pairs.roles.settings
    made = Office(settings["CMB_DATABASE_URL"], pairs.roles.keys)
    yield made
    await made.database.close()


async def ended_after(*sockets: ClientConnection) -> float:
    """Seconds until all are closed by the other side."""
    since = time.monotonic()

    async def ended(socket: ClientConnection) -> None:
        with pytest.raises(ConnectionClosed):
            while True:
                await socket.recv()

    async with asyncio.timeout(ENDS_SECONDS):
        await asyncio.gather(*(ended(each) for each in sockets))
    return time.monotonic() - since


async def still_open(*sockets: ClientConnection) -> None:
    for each in sockets:
        await each.send("still there")
        assert "still there" in str(await each.recv())


def hydrated(tab: Hostile) -> str:
    """What a page's socket says of who looks at it."""
    tab.forget()
    if not tab.connected:
        return ""
    tab.send(HYDRATE, path="/environments")
    return tab.listen(quiet_seconds=1.0)


def refused_after(tab: Hostile) -> float:
    """Seconds until the next event is nobody's."""
    since = time.monotonic()
    while IN in hydrated(tab):
        assert time.monotonic() - since < REFUSED_SECONDS, "its events are answered still"
    return time.monotonic() - since


async def inside(pairs: Pairs, which: int, slug: str, cookie: str) -> int:
    async with pairs.browser(which) as anybody:
        headers = {"Host": pairs.host(slug), "Cookie": cookie}
        return (await anybody.get("/hello", headers=headers)).status_code


async def test_f22_what_is_taken_away_here_is_over_there(pairs: Pairs, office: Office) -> None:
    await asyncio.gather(
        leaves(pairs, office, "ada", "signs out"),
        leaves(pairs, office, "elena", "is disabled"),
        # Her other browser, where she does not sign out.
        is_no_guest_any_more(pairs, office, "ravi", "ada"),
    )
    # Somebody else has to be one, and is signed out by becoming it.
    await is_no_admin_any_more(pairs, office, "ravi", "elena")


async def leaves(pairs: Pairs, office: Office, who: str, act: str) -> None:
    """Signed in at one, with sockets through both."""
    async with pairs.browser(HERE, who) as ada:
        token = await pairs.token(ada)
        environment = await pairs.running(ada, token)
        slug = environment["slug"]
        cookie = await pairs.enter(ada, slug)
        sockets = [await pairs.socket(which, slug, cookie) for which in (HERE, THERE)]
        await still_open(*sockets)
        with pairs.tab(THERE, ada.cookies[SESSION_COOKIE], str(uuid4())) as tab:
            assert IN in await asyncio.to_thread(hydrated, tab)
            if act == "signs out":
                assert (await ada.post("/auth/sign-out")).status_code == 303
            else:
                await office.accounts.disable(SYSTEM, (await office.actor(ada)).person())
            refused, ended = await asyncio.gather(asyncio.to_thread(refused_after, tab), ended_after(*sockets))
        print(f"{act}: events refused after {refused:.1f} s, sockets ended after {ended:.1f} s")
        assert [await inside(pairs, which, slug, cookie) for which in (HERE, THERE)] == [401, 401]
        async with pairs.browser(THERE) as anybody:
            headers = {"Authorization": f"Bearer {token}"}
            expected = 200 if act == "signs out" else 401
            assert (await anybody.get("/api/v1/environments", headers=headers)).status_code == expected


async def is_no_guest_any_more(pairs: Pairs, office: Office, owners: str, guests: str) -> None:
    """The owner's own sockets go on."""
    async with pairs.browser(HERE, owners) as ada, pairs.browser(THERE, guests) as ravi:
        environment = await pairs.running(ada, await pairs.token(ada))
        slug, identity = environment["slug"], UUID(environment["id"])
        owner, guest = await office.actor(ada), await office.actor(ravi)
        await office.shares.share(owner, identity, guest.name)
        mine, theirs = await pairs.enter(ada, slug), await pairs.enter(ravi, slug)
        kept = [await pairs.socket(which, slug, mine) for which in (HERE, THERE)]
        sockets = [await pairs.socket(which, slug, theirs) for which in (HERE, THERE)]
        await still_open(*kept, *sockets)
        await office.shares.withdraw(owner, identity, guest.person())
        print(f"a guest's sockets ended after {await ended_after(*sockets):.1f} s")
        await still_open(*kept)
        for which in (HERE, THERE):
            assert await inside(pairs, which, slug, theirs) != 200
            assert await inside(pairs, which, slug, mine) == 200
        assert (await _open(ravi, slug)).status_code == 404
        for each in kept:
            await each.close()


async def _open(client: httpx.AsyncClient, slug: str) -> httpx.Response:
    return await client.get(f"/open/{slug}")


async def is_no_admin_any_more(pairs: Pairs, office: Office, who: str, successor: str) -> None:
    """What only admins may: today that is a token with their scope, and being told as one."""
    async with pairs.browser(HERE, who) as ravi, pairs.browser(THERE) as there, pairs.browser(THERE, who) as again:
        token = await admins_token(ravi)
        assert token.status_code == 201, token.text
        headers = {"Authorization": f"Bearer {token.json()['token']}"}
        there.cookies = again.cookies
        assert (await admins_token(there)).status_code == 201
        assert await role_of(there, headers) == ("admin", ["read", "admin"])
        with pairs.tab(THERE, again.cookies[SESSION_COOKIE], str(uuid4())) as tab:
            assert IN in await asyncio.to_thread(hydrated, tab)
            await office.accounts.enable(SYSTEM, await person(office, successor))
            await office.accounts.set_role(SYSTEM, await person(office, successor), Role.ADMIN)
            await office.accounts.set_role(SYSTEM, await person(office, who), Role.USER)
            refused = await asyncio.to_thread(refused_after, tab)
        print(f"is no admin any more: events refused after {refused:.1f} s")
        # Nobody tells the replicas; what they remember is over within seconds.
        async with asyncio.timeout(REFUSED_SECONDS):
            for client in (ravi, there):
                while (answer := await admins_token(client)).status_code != 401:
                    assert answer.status_code == 201, answer.text
            while await role_of(there, headers) != ("user", ["read"]):
                await asyncio.sleep(0.1)
    async with pairs.browser(THERE, who) as ravi:
        assert (await admins_token(ravi)).status_code == 422


async def person(office: Office, who: str) -> UUID:
    return (await office.accounts.person_with(SYSTEM, f"{who}@example.org")).id


async def admins_token(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/api/tokens", json={"name": "a", "scopes": ["read", "admin"], "days": 7})


async def role_of(client: httpx.AsyncClient, headers: dict[str, str]) -> tuple[str, list[str]]:
    said = (await client.get("/api/v1/me", headers=headers | {"Cookie": ""})).json()
    return said["role"], said["scopes"]
