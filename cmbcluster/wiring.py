"""The one place that chooses adapters from the settings and builds the services.

Everything above takes what it needs from ``parts()``. Nothing here decides anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import structlog
from limits.aio.storage import RedisStorage, Storage

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Bus
from cmbcluster.catalogue.schema import load_seed
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.crypto.sealed import Sealer
from cmbcluster.db.database import Database
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.errors import DatabaseUnavailable
from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.identity.port import Identity, Person
from cmbcluster.images.accounts import platform_accounts
from cmbcluster.images.on_nodes import OnNodesFirst
from cmbcluster.images.port import ImageResolver, PlatformAccount
from cmbcluster.images.registry import RegistryResolver
from cmbcluster.images.wire import Wire
from cmbcluster.packages.port import Resolver
from cmbcluster.packages.uv import UvResolver
from cmbcluster.runtime.local.runtime import LocalRuntime
from cmbcluster.runtime.port import Insight, Runtime
from cmbcluster.services.access import AccessService
from cmbcluster.services.accounts import AccountService
from cmbcluster.services.activity import ActivityService, NoticeService
from cmbcluster.services.api_tokens import ApiTokenService
from cmbcluster.services.catalogue import CatalogueService
from cmbcluster.services.contents import ImageRules
from cmbcluster.services.environments import EnvironmentService
from cmbcluster.services.insights import InsightService
from cmbcluster.services.rates import RateService
from cmbcluster.services.registries import RegistryService
from cmbcluster.services.sessions import SessionService
from cmbcluster.services.shares import ShareService
from cmbcluster.services.sign_ins import SignInService
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)
DATABASE_AGAIN_SECONDS = 1.0


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
    images: ImageResolver
    identity: Identity
    accounts: AccountService
    sessions: SessionService
    api_tokens: ApiTokenService
    registries: RegistryService
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
    images: ImageResolver,
    sealer: Sealer,
    accounts_of_platform: tuple[PlatformAccount, ...] = (),
    counts: Storage | None = None,
) -> Parts:
    """The services over given adapters; tests give fakes here. ``counts``: the store that replicas share."""
    sessions = SessionService(database, bus, settings, keyring)
    rates = RateService(settings, counts)
    api_tokens = ApiTokenService(database, bus, settings, rates)
    identity = _identity(settings)
    rules = ImageRules(runtime.runs_images, settings.usable_images)
    return Parts(
        settings=settings,
        database=database,
        bus=bus,
        runtime=runtime,
        insight=insight,
        resolver=resolver,
        images=images,
        identity=identity,
        accounts=AccountService(database, bus),
        sessions=sessions,
        api_tokens=api_tokens,
        registries=RegistryService(database, bus, settings, rates, sealer, accounts_of_platform),
        sign_ins=SignInService(database, identity, sessions, settings),
        catalogue=CatalogueService(database, rules),
        environments=EnvironmentService(database, bus, settings, rates, rules),
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
    database = open_database(settings)
    if prepare:
        await database.migrate()
    keyring = await asyncio.to_thread(open_keyring, settings)
    bus = await _opened.enter_async_context(open_bus(settings))
    counts = await _opened.enter_async_context(open_counts(settings))
    sealer = await asyncio.to_thread(Sealer.of_file, settings.sealing_keys_path)
    accounts = await asyncio.to_thread(platform_accounts, settings.registry_credentials_file)
    made = build_parts(
        settings,
        database,
        bus,
        runtime,
        insight,
        resolver,
        keyring,
        _image_resolver(settings),
        sealer,
        accounts,
        counts,
    )
    if prepare:
        await made.catalogue.seed(SYSTEM, load_seed())
    if settings.identity != "elsewhere":
        # Who signs nobody in does not know who may.
        await _once_it_answers(lambda: made.sign_ins.shut_old_ways(SYSTEM))
    return made


async def _once_it_answers(do: Callable[[], Awaitable[object]]) -> None:
    """Do what may be done twice; a process that begins while the database is away waits, as one that works does."""
    while True:
        try:
            await do()
            return
        except DatabaseUnavailable as away:
            logger.warning("database_waited_for", error=str(away))
            await asyncio.sleep(DATABASE_AGAIN_SECONDS)


def _image_resolver(settings: Settings) -> ImageResolver:
    wire = Wire(internal=settings.image_internal_registries, plain=settings.image_http_registries)
    registries = RegistryResolver(wire, platform=settings.image_platform, token_hosts=settings.image_sign_in_hosts)
    return OnNodesFirst(settings.image_on_nodes, registries)


def open_database(settings: Settings) -> Database:
    """The database that the settings name; nothing is asked of it yet."""
    return Database(
        settings.sqlalchemy_url,
        connections_at_once=settings.database_connections_at_once,
        wait_seconds=settings.database_wait_seconds,
    )


@asynccontextmanager
async def access_alone(settings: Settings) -> AsyncIterator[AccessService]:
    """What the gate asks, without a runtime; the schema must be there."""
    database = open_database(settings)
    keyring = await asyncio.to_thread(open_keyring, settings)
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


def open_keyring(settings: Settings) -> Keyring:
    """The keys that sign tokens. Blocking; raises StartRefused when they cannot be read."""
    path = keyring_path(settings)
    # A file that was named is somebody else's to write: replicas that each made one would not know each other's tokens.
    return Keyring.of_file(path) if settings.token_keys_file is None else Keyring.of_given_file(path)
