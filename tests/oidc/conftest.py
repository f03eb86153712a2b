"""Our routes over real services, with the real provider behind them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlmodel import select

from cmbcluster.db.models import SignInAttempt, User
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.gate import SESSION_COOKIE
from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy
from cmbcluster.http.routes import build_routes
from cmbcluster.http.session_cookie import SessionCookies
from cmbcluster.provider_settings import ProviderSettings
from cmbcluster.wiring import set_parts
from tests.oidc.served import CLIENT_ID, CLIENT_SECRET, Served, serve
from tests.platform import Platform, open_platform

HOME = "http://localhost:8200"
IDS = ("lab", "google", "other")
OWN_PAGE = {"Sec-Fetch-Site": "same-origin", "Origin": HOME}


@pytest.fixture(scope="session")
def provider_process() -> Iterator[Served]:
    """One provider for all tests of this folder."""
    with serve(*[f"{HOME}/auth/{each}/callback" for each in IDS]) as served:
        yield served


@pytest.fixture
def provider(provider_process: Served) -> Served:
    """The provider as if nothing had happened yet."""
    provider_process.forget()
    return provider_process


def settings_for(served: Served, **more: object) -> ProviderSettings:
    """A provider of the settings that everybody may use, unless ``more`` says otherwise."""
    given = {
        "id": "lab",
        "name": "Lab",
        "issuer": served.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scopes": ("openid", "email", "profile", "groups"),
        "allowed": "everybody",
    }
    return ProviderSettings.model_validate({**given, **more})


@dataclass
class Browser:
    """Somebody's browser at our site: it keeps cookies, and its forms come from our own pages."""

    platform: Platform
    provider: Served
    client: httpx.AsyncClient
    id: str = "lab"
    last: dict[str, str] = field(default_factory=dict)

    async def start(self, wanted: str = "/", *, act: str = "start") -> httpx.Response:
        """Press the button of the provider."""
        return await self.client.post(f"/auth/{self.id}/{act}", data={"next": wanted}, headers=OWN_PAGE)

    async def way_there(self, wanted: str = "/", *, act: str = "start") -> str:
        """The address at the provider that the button leads to."""
        page = await self.start(wanted, act=act)
        assert page.status_code == 200, page.text
        found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', page.text)
        assert found is not None
        return unescape(found[1])

    async def way_back(self, login: str = "alice", wanted: str = "/", *, act: str = "start") -> str:
        """The address that the provider sends the browser back to."""
        return await self.provider.visit(await self.way_there(wanted, act=act), login)

    async def come_back(self, address: str) -> httpx.Response:
        """Follow it, as a browser does that comes from another site."""
        assert address.startswith(HOME)
        told = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        return await self.client.get(address.removeprefix(HOME), headers=told)

    async def sign_in(self, login: str = "alice", wanted: str = "/") -> httpx.Response:
        """All of it; the last answer."""
        return await self.come_back(await self.way_back(login, wanted))

    async def actor(self) -> Actor | None:
        """Who is signed in in this browser."""
        return await self.platform.parts.sessions.find(self.client.cookies.get(SESSION_COOKIE) or "")

    async def users(self) -> list[User]:
        """Everybody the platform knows."""
        async with self.platform.parts.database.reading() as work:
            return list((await work.users._session.exec(select(User))).all())

    async def attempts(self) -> list[SignInAttempt]:
        """The sign-ins on their way."""
        async with self.platform.parts.database.reading() as work:
            return list((await work.users._session.exec(select(SignInAttempt))).all())


def query_of(address: str) -> dict[str, str]:
    """The query of an address, one value for each name."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


@dataclass
class Site:
    """One platform and any number of browsers at it."""

    platform: Platform
    provider: Served
    app: Shell
    open_clients: list[httpx.AsyncClient] = field(default_factory=list)

    def browser(self, provider_id: str = "lab") -> Browser:
        """A browser that was never here before."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False, client=("127.0.0.1", 50000))
        client = httpx.AsyncClient(transport=transport, base_url=HOME)
        self.open_clients.append(client)
        return Browser(self.platform, self.provider, client, provider_id)


Open = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def open_site(provider: Served, tmp_path: Path) -> Open:
    """Open a platform with these providers, each given as what differs from the usual one."""

    @asynccontextmanager
    async def opened(*given: dict[str, object], **settings: object) -> AsyncIterator[Site]:
        providers = tuple(settings_for(provider, **each) for each in given or ({},))
        folder = Path(mkdtemp(dir=tmp_path))
        async with open_platform(folder, identity="oidc", oidc_providers=providers, **settings) as platform:
            set_parts(platform.parts)
            inner = SessionCookies(build_routes(), platform.parts.settings)
            site = Site(platform, provider, Shell(inner, HOME, content_security_policy(HOME, ())))
            yield site
            await asyncio.gather(*(client.aclose() for client in site.open_clients))
            set_parts(None)

    return opened


@pytest.fixture
async def site(open_site: Open) -> AsyncIterator[Site]:
    """A platform with one provider, which everybody may use."""
    async with open_site() as opened:
        yield opened


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser at it."""
    return site.browser()
