"""What an operator's commands need: builds, keys, accounts and the schema, without a running platform.

Chooses adapters as ``wiring`` does; must never look after environments.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.catalogue.schema import load_seed
from cmbcluster.crypto.keyring import new_file
from cmbcluster.crypto.sealed import Sealer
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.runtime.local.builds import BuildView
from cmbcluster.runtime.local.inventory import Inventory
from cmbcluster.services.accounts import AccountService
from cmbcluster.services.catalogue import CatalogueService
from cmbcluster.services.contents import ImageRules
from cmbcluster.services.rates import RateService
from cmbcluster.services.registries import RegistryService
from cmbcluster.settings import Settings
from cmbcluster.wiring import open_bus, open_database, open_keyring


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


@asynccontextmanager
async def accounts_alone(settings: Settings) -> AsyncIterator[AccountService]:
    """The accounts without a runtime, for commands that must not look after environments."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = open_database(settings)
    try:
        await database.migrate()
        # With a bus that others hear, what the operator ends has ended everywhere at once.
        async with open_bus(settings) as bus:
            yield AccountService(database, bus)
    finally:
        await database.close()


async def prepare_database(settings: Settings) -> None:
    """Bring schema and catalogue up to date, for processes that come after this one."""
    database = open_database(settings)
    try:
        await database.migrate()
        rules = ImageRules(settings.runtime != "local", settings.usable_images)
        await CatalogueService(database, rules).seed(SYSTEM, load_seed())
    finally:
        await database.close()


def rotate_token_keys(settings: Settings) -> int:
    """Sign with a new key from now on; returns how many keys still verify. For the operator's terminal."""
    return open_keyring(settings).rotate()


def renewed_token_keys(settings: Settings) -> str:
    """The content of a file with a new key in front of the present ones. For the operator's terminal."""
    return open_keyring(settings).renewed()


def new_token_keys() -> str:
    """The content of a new file of keys. For the operator's terminal."""
    return new_file()


async def renew_sealing_keys(settings: Settings) -> tuple[int, int]:
    """Seal with a new key from now on, and seal anew what is kept; the numbers of accounts and of keys.

    For the operator's terminal. The older keys stay in the file, for whatever could not be sealed anew.
    """
    sealer = await asyncio.to_thread(Sealer.of_file, settings.sealing_keys_path)
    keys = await asyncio.to_thread(sealer.renew)
    database = open_database(settings)
    try:
        await database.migrate()
        registries = RegistryService(database, MemoryBus(), settings, RateService(settings), sealer)
        return await registries.seal_anew(SYSTEM), keys
    finally:
        await database.close()
