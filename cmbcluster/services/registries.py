"""Accounts at registries of images: people's own, and those that the operator set for everybody.

A secret comes in once and leaves only towards its registry: ``credentials_for`` is the
platform's own question, never a person's. Must never return, log or show a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.crypto.sealed import CannotOpen, Sealer
from cmbcluster.db.database import Database
from cmbcluster.db.models import RegistryAccount
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.images import ImageSource, check_registry, matches
from cmbcluster.domain.views import RegistryAccountView
from cmbcluster.errors import InvalidInput, NotFound, QuotaExceeded
from cmbcluster.images.port import Credentials, PlatformAccount
from cmbcluster.services.denials import records_denials
from cmbcluster.services.rates import Limited, RateService
from cmbcluster.services.records import note_activity
from cmbcluster.settings import Settings

MOST_ACCOUNTS = 20
USERNAME_LIMIT = 255
SECRET_LIMIT = 8192
NO_SUCH_ACCOUNT = ("There is no such account, or it is not yours.", "Reload the page.")

log = structlog.get_logger("cmbcluster.registries")


@records_denials
class RegistryService:
    """Entering, listing and removing accounts, and finding the one for an image."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        settings: Settings,
        rates: RateService,
        sealer: Sealer,
        platform_accounts: Sequence[PlatformAccount] = (),
    ) -> None:
        self._database = database
        self._bus = bus
        self._settings = settings
        self._rates = rates
        self._sealer = sealer
        self._platform_accounts = tuple(platform_accounts)

    async def enter(self, actor: Actor, registry: str, username: str, secret: str) -> RegistryAccountView:
        """Keep an account; one at the same registry is replaced.

        Raises InvalidInput naming the field and QuotaExceeded at the limit.
        """
        user_id = actor.require_session()
        await self._rates.check(actor, Limited.ENTER_ACCOUNT)
        host = self._known(check_registry(registry))
        name, word = _username(username), _secret(secret)
        async with self._database.transaction() as work:
            await work.users.lock(user_id)
            now = await work.now()
            row = await work.registry_accounts.at(user_id, host)
            kind = "registry_changed"
            if row is None:
                if await work.registry_accounts.count(user_id) >= MOST_ACCOUNTS:
                    raise QuotaExceeded(f"You have {MOST_ACCOUNTS} accounts.", "Remove one that you do not use.")
                row = RegistryAccount(user_id=user_id, host=host, username=name, sealed="", created_at=now)
                work.registry_accounts.add(row)
                kind = "registry_added"
            row.username, row.created_at = name, now
            row.sealed = self._sealer.seal(word, _purpose(row))
            note_activity(work, actor, kind, now, owner_id=user_id, detail=f"{name} at {host}")
            view = _view(row)
        await self._bus.publish(Ring(f"user:{user_id}", "registries"))
        return view

    async def mine(self, actor: Actor) -> tuple[RegistryAccountView, ...]:
        """The person's accounts, without their secrets."""
        user_id = actor.require_session()
        async with self._database.reading() as work:
            return tuple(_view(row) for row in await work.registry_accounts.of(user_id))

    async def remove(self, actor: Actor, account_id: UUID) -> None:
        """Delete one of the person's accounts for good; NotFound for anybody else's."""
        user_id = actor.require_session()
        async with self._database.transaction() as work:
            row = await work.registry_accounts.owned(account_id, user_id)
            if row is None:
                raise NotFound(*NO_SUCH_ACCOUNT)
            await work.registry_accounts.remove(row)
            now = await work.now()
            detail = f"{row.username} at {row.host}"
            note_activity(work, actor, "registry_removed", now, owner_id=user_id, detail=detail)
        await self._bus.publish(Ring(f"user:{user_id}", "registries"))

    async def credentials_for(self, actor: Actor, owner_id: UUID, source: ImageSource) -> Credentials | None:
        """The account to ask with for an image of a person: their own, else the platform's, else none."""
        actor.require_system()
        async with self._database.reading() as work:
            row = await work.registry_accounts.at(owner_id, source.registry)
        if row is not None:
            try:
                return Credentials(row.host, row.username, self._sealer.open(row.sealed, _purpose(row)))
            except CannotOpen:
                log.warning("registry_account_unreadable", account=str(row.id))
        fitting = [each for each in self._platform_accounts if matches(each.rule, source.repository)]
        if not fitting:
            return None
        best = max(fitting, key=lambda each: len(each.rule))
        return Credentials(source.registry, best.username, best.secret)

    async def seal_anew(self, actor: Actor) -> int:
        """Seal every account with the newest key; returns how many. What cannot be opened is left as it is."""
        actor.require_system()
        count = 0
        async with self._database.transaction() as work:
            for row in await work.registry_accounts.every(lock=True):
                try:
                    row.sealed = self._sealer.seal(self._sealer.open(row.sealed, _purpose(row)), _purpose(row))
                except CannotOpen:
                    log.warning("registry_account_unreadable", account=str(row.id))
                    continue
                count += 1
        return count

    def _known(self, host: str) -> str:
        """The host, if images may come from there at all: no account is kept that nothing can use."""
        hosts = {rule.partition("/")[0] for rule in self._settings.image_registries}
        if host not in hosts:
            listed = ", ".join(sorted(hosts)) or "none"
            raise InvalidInput("registry", f"Images from {host} cannot be used here.", f"Registries here: {listed}.")
        return host


def _purpose(row: RegistryAccount) -> str:
    """Who and what a secret is for: it opens for no other person and for no other registry."""
    return f"registry account of {row.user_id} at {row.host}"


def _username(text: str) -> str:
    name = text.strip()
    if not name:
        raise InvalidInput("username", "There is no user name.", "Type the one you sign in there with.")
    # A colon ends the name where it is sent.
    if len(name) > USERNAME_LIMIT or ":" in name or not name.isprintable():
        raise InvalidInput("username", "That is not a user name.", "Type the one you sign in there with.")
    return name


def _secret(text: str) -> str:
    word = text.strip()
    if not word:
        raise InvalidInput("secret", "There is no password or token.", "Type or paste it.")
    if len(word) > SECRET_LIMIT or not word.isprintable():
        raise InvalidInput("secret", "That cannot be a password or token.", "Copy it again, on one line.")
    return word


def _view(row: RegistryAccount) -> RegistryAccountView:
    return RegistryAccountView(row.id, row.host, row.username, row.created_at)
