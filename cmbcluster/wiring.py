"""The one place that chooses adapters from the settings and builds the services.

Everything above takes what it needs from ``parts()``. Nothing here decides anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Bus
from cmbcluster.catalogue.schema import load_seed
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.db.database import Database
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.identity.port import Identity, Person
from cmbcluster.packages.port import Resolver
from cmbcluster.packages.uv import UvResolver
from cmbcluster.runtime.local.builds import BuildView
from cmbcluster.runtime.local.inventory import Inventory
from cmbcluster.runtime.local.runtime import LocalRuntime
from cmbcluster.runtime.port import Insight, Runtime
from cmbcluster.services.access import AccessService
from cmbcluster.services.accounts import AccountService
from cmbcluster.services.activity import ActivityService, NoticeService
from cmbcluster.services.api_tokens import ApiTokenService
from cmbcluster.services.catalogue import CatalogueService
from cmbcluster.services.environments import EnvironmentService
from cmbcluster.services.insights import InsightService
from cmbcluster.services.rates import RateService
from cmbcluster.services.sessions import SessionService
from cmbcluster.services.shares import ShareService
from cmbcluster.services.sign_ins import SignInService
from cmbcluster.settings import Settings


@runtime_checkable
class OpenedRuntime(Runtime, Insight, Protocol):
    """A runtime we opened and have to close; environments go on."""

    async def close(self) -> None:
        """Stop following."""


@dataclass(frozen=True)
class Parts:
    """What one process of the platform is made of."""

    settings: Settings
    database: Database
    bus: Bus
    runtime: Runtime
    insight: Insight
    resolver: Resolver
    identity: Identity
    accounts: AccountService
    sessions: SessionService
    api_tokens: ApiTokenService
    sign_ins: SignInService
    catalogue: CatalogueService
    environments: EnvironmentService
    activity: ActivityService
    notices: NoticeService
    insights: InsightService
    access: AccessService
    shares: ShareService
    rates: RateService

    @property
    def people(self) -> tuple[Person, ...]:
        """Who can be chosen on the sign-in page."""
        return self.identity.people()


_parts: Parts | None = None
_closing: list[asyncio.Task[None]] = []


def parts() -> Parts:
    """The parts of this process; raises RuntimeError before ``open_parts``."""
    if _parts is None:
        raise RuntimeError("the platform is not open in this process")
    return _parts


def build_parts(
    settings: Settings,
    database: Database,
    bus: Bus,
    runtime: Runtime,
    insight: Insight,
    resolver: Resolver,
    keyring: Keyring,
) -> Parts:
    """The services over given adapters; tests give fakes here."""
    sessions = SessionService(database, bus, settings, keyring)
    rates = RateService(settings)
    api_tokens = ApiTokenService(database, bus, settings, rates)
    identity = _identity(settings)
    return Parts(
        settings=settings,
        database=database,
        bus=bus,
        runtime=runtime,
        insight=insight,
        resolver=resolver,
        identity=identity,
        accounts=AccountService(database, bus),
        sessions=sessions,
        api_tokens=api_tokens,
        sign_ins=SignInService(database, identity, sessions, settings),
        catalogue=CatalogueService(database),
        environments=EnvironmentService(database, bus, settings, rates),
        activity=ActivityService(database),
        notices=NoticeService(database, bus),
        insights=InsightService(database, insight),
        access=AccessService(database, bus, settings, sessions, api_tokens, keyring),
        shares=ShareService(database, bus, rates),
        rates=rates,
    )


def _identity(settings: Settings) -> Identity:
    if settings.identity == "development":
        return DevelopmentIdentity()
    # Loaded only where it is used: its libraries cost a laptop memory and time at the start.
    from cmbcluster.identity.oidc import OidcIdentity

    return OidcIdentity(settings)


async def open_parts(settings: Settings) -> Parts:
    """Open everything that the settings ask for; ``close_parts`` closes it.

    Raises StartRefused when this machine cannot give what is asked.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    runtime = await _open_runtime(settings)
    resolver = UvResolver(settings)
    made = await _open_services(settings, runtime, runtime, resolver)
    set_parts(made)
    _closing.append(asyncio.create_task(_forget_on_rings(made), name="forget cached answers"))
    return made


async def _open_runtime(settings: Settings) -> OpenedRuntime:
    if settings.runtime == "local":
        local = LocalRuntime(settings)
        await local.open()
        return local
    # Loaded only where it is used: the client of clusters costs a laptop memory and time at the start.
    from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime

    cluster = KubernetesRuntime(settings)
    await cluster.open()
    return cluster


async def _open_services(settings: Settings, runtime: Runtime, insight: Insight, resolver: Resolver) -> Parts:
    if settings.database_url is None:
        # Only we may read who signed in and what they did; SQLite's other files follow this one's mode.
        await asyncio.to_thread((settings.data_dir / "cmbcluster.db").touch, 0o600)
    database = Database(settings.sqlalchemy_url)
    await database.migrate()
    keyring = await asyncio.to_thread(Keyring.of_file, keyring_path(settings))
    made = build_parts(settings, database, MemoryBus(), runtime, insight, resolver, keyring)
    await made.catalogue.seed(SYSTEM, load_seed())
    await made.sign_ins.shut_old_ways(SYSTEM)
    return made


@asynccontextmanager
async def accounts_alone(settings: Settings) -> AsyncIterator[AccountService]:
    """The accounts without a runtime, for commands that must not look after environments."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.sqlalchemy_url)
    try:
        await database.migrate()
        yield AccountService(database, MemoryBus())
    finally:
        await database.close()


def set_parts(made: Parts | None) -> None:
    """Make these the parts of this process."""
    global _parts
    _parts = made


async def close_parts() -> None:
    """Close what ``open_parts`` opened. Environments go on."""
    for task in _closing:
        task.cancel()
    await asyncio.gather(*_closing, return_exceptions=True)
    _closing.clear()
    if _parts is not None:
        await _parts.identity.close()
        if isinstance(_parts.runtime, OpenedRuntime):
            await _parts.runtime.close()
        await _parts.database.close()
    set_parts(None)


@dataclass(frozen=True)
class LocalBuild:
    """A package build of this machine, as its operator sees it."""

    digest: str
    size_bytes: int
    last_used_at: datetime | None
    in_use: bool


class LocalBuilds:
    """The package builds below the data folder, for the operator's terminal."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def list(self) -> tuple[LocalBuild, ...]:
        """Every finished build."""
        return _shown(Inventory(self._settings).builds())

    def prune(self) -> tuple[LocalBuild, ...]:
        """Remove the builds that no environment runs from now; returns those removed."""
        return _shown(Inventory(self._settings).prune())


def _shown(views: tuple[BuildView, ...]) -> tuple[LocalBuild, ...]:
    return tuple(LocalBuild(view.name, view.size_bytes, view.used_at, view.in_use) for view in views)


def local_builds(settings: Settings) -> LocalBuilds:
    """What ``cmbcluster admin builds`` lists and prunes."""
    return LocalBuilds(settings)


async def _forget_on_rings(made: Parts) -> None:
    """Drop cached answers as soon as a session or an environment changes, on any replica."""
    async with made.bus.subscribe("sessions", "gate") as rings:
        async for ring in rings:
            if ring.topic == "sessions":
                made.sessions.forget_answers()
                made.api_tokens.forget_answers()
            made.access.forget_passes()


def keyring_path(settings: Settings) -> Path:
    """The file of the keys that sign sessions' and environments' tokens."""
    return settings.data_dir / "keys" / "tokens.json"


def rotate_token_keys(settings: Settings) -> int:
    """Sign with a new key from now on; returns how many keys still verify. For the operator's terminal."""
    return Keyring.of_file(keyring_path(settings)).rotate()
