"""The one place that chooses adapters from the settings and builds the services.

Everything above takes what it needs from ``parts()``. Nothing here decides anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from limits.aio.storage import RedisStorage, Storage

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Bus
from cmbcluster.catalogue.schema import load_seed
from cmbcluster.crypto.keyring import Keyring, new_file
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
_opened = AsyncExitStack()


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
    counts: Storage | None = None,
) -> Parts:
    """The services over given adapters; tests give fakes here. ``counts``: the store that replicas share."""
    sessions = SessionService(database, bus, settings, keyring)
    rates = RateService(settings, counts)
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


async def open_parts(settings: Settings, *, prepare: bool = True, follow: bool = True) -> Parts:
    """Open everything that the settings ask for; ``close_parts`` closes it.

    ``prepare`` brings schema and catalogue up to date first, which one process does where
    there are several; without ``follow`` nothing that runs is watched, since another process
    is the controller. Raises StartRefused when this machine cannot give what is asked.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    runtime = await _open_runtime(settings, follow=follow)
    resolver = UvResolver(settings)
    made = await _open_services(settings, runtime, runtime, resolver, prepare=prepare)
    set_parts(made)
    _closing.append(
        asyncio.create_task(
            _forget_on_rings(made.bus, made.sessions, made.api_tokens, made.access), name="forget cached answers"
        )
    )
    return made


async def _open_runtime(settings: Settings, *, follow: bool) -> OpenedRuntime:
    if settings.runtime == "local":
        local = LocalRuntime(settings)
        await local.open()
        return local
    # Loaded only where it is used: the client of clusters costs a laptop memory and time at the start.
    from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime

    cluster = KubernetesRuntime(settings)
    await cluster.open(follow=follow)
    return cluster


async def _open_services(
    settings: Settings, runtime: Runtime, insight: Insight, resolver: Resolver, *, prepare: bool
) -> Parts:
    if settings.database_url is None:
        # Only we may read who signed in and what they did; SQLite's other files follow this one's mode.
        await asyncio.to_thread((settings.data_dir / "cmbcluster.db").touch, 0o600)
    database = _database(settings)
    if prepare:
        await database.migrate()
    keyring = await asyncio.to_thread(_keyring, settings)
    bus = await _opened.enter_async_context(open_bus(settings))
    counts = await _opened.enter_async_context(open_counts(settings))
    made = build_parts(settings, database, bus, runtime, insight, resolver, keyring, counts)
    if prepare:
        await made.catalogue.seed(SYSTEM, load_seed())
    if settings.identity != "elsewhere":
        # Who signs nobody in does not know who may.
        await made.sign_ins.shut_old_ways(SYSTEM)
    return made


def _database(settings: Settings) -> Database:
    return Database(
        settings.sqlalchemy_url,
        connections_at_once=settings.database_connections_at_once,
        wait_seconds=settings.database_wait_seconds,
    )


async def prepare_database(settings: Settings) -> None:
    """Bring schema and catalogue up to date, for processes that come after this one."""
    database = _database(settings)
    try:
        await database.migrate()
        await CatalogueService(database).seed(SYSTEM, load_seed())
    finally:
        await database.close()


@asynccontextmanager
async def access_alone(settings: Settings) -> AsyncIterator[AccessService]:
    """What the gate asks, without a runtime; the schema must be there."""
    database = _database(settings)
    keyring = await asyncio.to_thread(_keyring, settings)
    try:
        async with open_bus(settings) as bus, open_counts(settings) as counts:
            sessions = SessionService(database, bus, settings, keyring)
            api_tokens = ApiTokenService(database, bus, settings, RateService(settings, counts))
            access = AccessService(database, bus, settings, sessions, api_tokens, keyring)
            forgetting = asyncio.create_task(
                _forget_on_rings(bus, sessions, api_tokens, access), name="forget cached answers"
            )
            try:
                yield access
            finally:
                forgetting.cancel()
                await asyncio.gather(forgetting, return_exceptions=True)
    finally:
        await database.close()


@asynccontextmanager
async def open_bus(settings: Settings) -> AsyncIterator[Bus]:
    """The bus of all replicas, or of this process where there is one alone."""
    if settings.redis_url is None:
        yield MemoryBus()
        return
    # Loaded only where it is used: a laptop has no Redis.
    from cmbcluster.bus.redis import RedisBus, open_connections

    bus = RedisBus(open_connections(settings.redis_url.get_secret_value()))
    await bus.open()
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def open_counts(settings: Settings) -> AsyncIterator[Storage | None]:
    """The store of counts that replicas share, or None where there is one process alone."""
    if settings.redis_url is None:
        yield None
        return
    from cmbcluster.bus.redis import open_connections

    url = settings.redis_url.get_secret_value()
    connections: Any = open_connections(url, again=1)
    try:
        yield RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="cmb:counts",
            connection_pool=connections,
        )
    finally:
        await connections.disconnect()


@asynccontextmanager
async def accounts_alone(settings: Settings) -> AsyncIterator[AccountService]:
    """The accounts without a runtime, for commands that must not look after environments."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = _database(settings)
    try:
        await database.migrate()
        # With a bus that others hear, what the operator ends has ended everywhere at once.
        async with open_bus(settings) as bus:
            yield AccountService(database, bus)
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
    await _opened.aclose()
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


async def _forget_on_rings(
    bus: Bus, sessions: SessionService, api_tokens: ApiTokenService, access: AccessService
) -> None:
    """Drop cached answers as soon as a session or an environment changes, on any replica."""
    async with bus.subscribe("sessions", "gate") as rings:
        async for ring in rings:
            if ring.topic == "sessions":
                sessions.forget_answers()
                api_tokens.forget_answers()
            access.forget_passes()


def keyring_path(settings: Settings) -> Path:
    """The file of the keys that sign sessions' and environments' tokens."""
    return settings.token_keys_file or settings.data_dir / "keys" / "tokens.json"


def _keyring(settings: Settings) -> Keyring:
    path = keyring_path(settings)
    # A file that was named is somebody else's to write: replicas that each made one would not know each other's tokens.
    return Keyring.of_file(path) if settings.token_keys_file is None else Keyring.of_given_file(path)


def rotate_token_keys(settings: Settings) -> int:
    """Sign with a new key from now on; returns how many keys still verify. For the operator's terminal."""
    return _keyring(settings).rotate()


def renewed_token_keys(settings: Settings) -> str:
    """The content of a file with a new key in front of the present ones. For the operator's terminal."""
    return _keyring(settings).renewed()


def new_token_keys() -> str:
    """The content of a new file of keys. For the operator's terminal."""
    return new_file()
