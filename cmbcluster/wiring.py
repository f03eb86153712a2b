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

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Bus
from cmbcluster.catalogue.schema import load_seed
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.crypto.sealed import Sealer
from cmbcluster.db.database import Database
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.identity.development import DevelopmentIdentity
from cmbcluster.identity.port import Identity, Person
from cmbcluster.images.accounts import platform_accounts
from cmbcluster.images.port import ImageResolver, PlatformAccount
from cmbcluster.images.registry import RegistryResolver
from cmbcluster.images.wire import Wire
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
from cmbcluster.services.contents import ImageRules
from cmbcluster.services.environments import EnvironmentService
from cmbcluster.services.insights import InsightService
from cmbcluster.services.rates import RateService
from cmbcluster.services.registries import RegistryService
from cmbcluster.services.sessions import SessionService
from cmbcluster.services.shares import ShareService
from cmbcluster.services.sign_ins import SignInService
from cmbcluster.settings import Settings


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
) -> Parts:
    """The services over given adapters; tests give fakes here."""
    sessions = SessionService(database, bus, settings, keyring)
    rates = RateService(settings)
    api_tokens = ApiTokenService(database, bus, settings, rates)
    identity = _identity(settings)
    rules = ImageRules(runtime.runs_images, settings.image_registries)
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


async def open_parts(settings: Settings) -> Parts:
    """Open everything that the settings ask for; ``close_parts`` closes it.

    Raises StartRefused when this machine cannot give what is asked.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    runtime = LocalRuntime(settings)
    await runtime.open()
    resolver = UvResolver(settings)
    made = await _open_services(settings, runtime, runtime, resolver)
    set_parts(made)
    _closing.append(asyncio.create_task(_forget_on_rings(made), name="forget cached answers"))
    return made


async def _open_services(settings: Settings, runtime: Runtime, insight: Insight, resolver: Resolver) -> Parts:
    if settings.database_url is None:
        # Only we may read who signed in and what they did; SQLite's other files follow this one's mode.
        await asyncio.to_thread((settings.data_dir / "cmbcluster.db").touch, 0o600)
    database = Database(settings.sqlalchemy_url)
    await database.migrate()
    keyring = await asyncio.to_thread(Keyring.of_file, keyring_path(settings))
    sealer = await asyncio.to_thread(Sealer.of_file, settings.sealing_keys_path)
    accounts = await asyncio.to_thread(platform_accounts, settings.registry_credentials_file)
    made = build_parts(
        settings,
        database,
        MemoryBus(),
        runtime,
        insight,
        resolver,
        keyring,
        _image_resolver(settings),
        sealer,
        accounts,
    )
    await made.catalogue.seed(SYSTEM, load_seed())
    await made.sign_ins.shut_old_ways(SYSTEM)
    return made


def _image_resolver(settings: Settings) -> ImageResolver:
    wire = Wire(internal=settings.image_internal_registries, plain=settings.image_http_registries)
    return RegistryResolver(wire, platform=settings.image_platform, token_hosts=settings.image_sign_in_hosts)


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
        if isinstance(_parts.runtime, LocalRuntime):
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


async def renew_sealing_keys(settings: Settings) -> tuple[int, int]:
    """Seal with a new key from now on, and seal anew what is kept; the numbers of accounts and of keys.

    For the operator's terminal. The older keys stay in the file, for whatever could not be sealed anew.
    """
    sealer = await asyncio.to_thread(Sealer.of_file, settings.sealing_keys_path)
    keys = await asyncio.to_thread(sealer.renew)
    database = Database(settings.sqlalchemy_url)
    try:
        await database.migrate()
        registries = RegistryService(database, MemoryBus(), settings, RateService(settings), sealer)
        return await registries.seal_anew(SYSTEM), keys
    finally:
        await database.close()
