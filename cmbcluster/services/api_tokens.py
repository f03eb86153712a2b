"""Personal tokens: what a script shows in place of a person who is signed in.

The row is the only authority, as with sessions: an answer may be reused for
``session_cache_seconds`` and is dropped at once when the bus says that something changed. A
token must never be kept, logged or shown after it was made, nor make another one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.db.database import Database, Work
from cmbcluster.db.models import ApiToken, User
from cmbcluster.domain.actors import Actor, ActorKind, Role, Scope, Tier
from cmbcluster.domain.naming import clean_label
from cmbcluster.domain.tokens import LIFETIMES_DAYS, SHOWN_CHARACTERS, looks_right, token_of
from cmbcluster.domain.views import TokenView
from cmbcluster.errors import InvalidInput, NotFound, QuotaExceeded
from cmbcluster.services.denials import records_denials
from cmbcluster.services.rates import Limited, RateService
from cmbcluster.services.records import note_activity
from cmbcluster.services.tokens import sha256_hex
from cmbcluster.settings import Settings

MOST_TOKENS = 50
NAME_LIMIT = 80
TOUCH_EVERY_SECONDS = 60
CACHE_LIMIT = 10_000
NO_SUCH_TOKEN = ("There is no such token, or it is not yours.", "Reload the page.")


@dataclass(frozen=True)
class MadeToken:
    """A new token with its secret: to be shown once and then forgotten."""

    secret: str
    view: TokenView


@dataclass(frozen=True)
class _Answer:
    actor: Actor | None
    until: float  # monotonic seconds
    rests: bool = False


@records_denials
class ApiTokenService:
    """Making, listing and revoking tokens, and finding out whose they are."""

    def __init__(self, database: Database, bus: Bus, settings: Settings, rates: RateService) -> None:
        self._database = database
        self._bus = bus
        self._settings = settings
        self._rates = rates
        self._answers: dict[str, _Answer] = {}
        self._changes = 0

    async def make(self, actor: Actor, name: str, scopes: Iterable[str], lifetime_days: int | None) -> MadeToken:
        """Make a token; ``lifetime_days`` None: it works until it is revoked.

        Raises InvalidInput naming the field and QuotaExceeded at the limit.
        """
        user_id = actor.require_session()
        await self._rates.check(actor, Limited.MAKE_TOKEN)
        clean = clean_label(name, NAME_LIMIT, "Type what it is for, such as laptop or nightly run.")
        granted = _scopes(actor, scopes)
        if lifetime_days is not None and lifetime_days not in LIFETIMES_DAYS:
            raise InvalidInput("expiry", "That is not an expiry to choose.", "Choose one of those offered.")
        secret = token_of(secrets.randbits(256))
        async with self._database.transaction() as work:
            await work.users.lock(user_id)
            now = await work.now()
            if await work.api_tokens.count(user_id) >= MOST_TOKENS:
                raise QuotaExceeded(f"You have {MOST_TOKENS} tokens.", "Revoke one that you do not use any more.")
            row = ApiToken(
                user_id=user_id,
                name=clean,
                token_prefix=secret[:SHOWN_CHARACTERS],
                token_sha256=sha256_hex(secret),
                scopes=[scope.value for scope in granted],
                created_at=now,
                expires_at=now + timedelta(days=lifetime_days) if lifetime_days is not None else None,
            )
            work.api_tokens.add(row)
            note_activity(work, actor, "token_made", now, owner_id=user_id, detail=f"{clean}: {', '.join(row.scopes)}")
            view = _view(row, now)
        await self._bus.publish(Ring(f"user:{user_id}", "tokens"))
        return MadeToken(secret, view)

    async def mine(self, actor: Actor) -> tuple[TokenView, ...]:
        """The person's tokens that are not revoked, the newest first."""
        user_id = actor.require_session()
        async with self._database.reading() as work:
            now = await work.now()
            rows = await work.api_tokens.of(user_id)
        return tuple(_view(row, now) for row in rows)

    async def revoke(self, actor: Actor, token_id: UUID) -> None:
        """Revoke one of the person's tokens, at once and everywhere; NotFound for anybody else's."""
        user_id = actor.require_session()
        async with self._database.transaction() as work:
            row = await work.api_tokens.owned(token_id, user_id)
            if row is None:
                raise NotFound(*NO_SUCH_TOKEN)
            now = await work.now()
            row.revoked_at = now
            note_activity(work, actor, "token_revoked", now, owner_id=user_id, detail=row.name)
        self.forget_answers()
        await self._bus.publish(Ring("sessions", str(token_id)))
        await self._bus.publish(Ring(f"token:{token_id}", "ended"))
        await self._bus.publish(Ring(f"user:{user_id}", "tokens"))

    async def find(self, secret: str, *, touch: bool = True, fresh: bool = False) -> Actor | None:
        """The actor of a token, or None when it opens nothing (any more).

        ``touch`` false: a look that is not a use, such as a connection's own re-check. ``fresh``: for who
        remembers the answer themselves; the row is asked, or two memories would add up.
        """
        return (await self._answer(secret, touch=touch, fresh=fresh)).actor

    async def rests(self, secret: str) -> bool:
        """Whether a token opens nothing only because its person has not signed in for too long."""
        return (await self._answer(secret, touch=False)).rests

    async def _answer(self, secret: str, *, touch: bool, fresh: bool = False) -> _Answer:
        if not looks_right(secret):
            return _Answer(None, 0)
        key = sha256_hex(secret)
        known = self._answers.get(key)
        if not fresh and known is not None and known.until > time.monotonic():
            return known
        changes = self._changes
        async with self._database.reading() as work:
            found = await work.api_tokens.by_hash(key)
            now = await work.now()
            works = found is not None and _works(*found, now)
            rests = works and found is not None and await self._rests(work, found[1], now)
        actor = _actor(*found) if found is not None and works and not rests else None
        if found is not None and actor is not None and touch:
            await self._touch(found[0], now)
        answer = _Answer(actor, time.monotonic() + self._settings.session_cache_seconds, rests)
        # Not after a change meanwhile: what was read may be older than the change.
        if changes == self._changes:
            if len(self._answers) >= CACHE_LIMIT:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    async def _rests(self, work: Work, user: User, now: datetime) -> bool:
        """Whether no provider has vouched for the person for too long. Nobody ever vouches for test people."""
        longest_seconds = self._settings.sign_in_again_seconds
        if not longest_seconds or self._settings.identity == "development":
            return False
        last = await work.sessions.last_made(user.id)
        return last is None or now - last > timedelta(seconds=longest_seconds)

    def forget_answers(self) -> None:
        """Drop every reused answer; called when the bus says sessions or tokens changed."""
        self._changes += 1
        self._answers.clear()

    async def _touch(self, row: ApiToken, now: datetime) -> None:
        if row.last_used_at is None or (now - row.last_used_at).total_seconds() > TOUCH_EVERY_SECONDS:
            async with self._database.transaction() as work:
                await work.api_tokens.touch(row.id, now)


def _scopes(actor: Actor, wanted: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes in the order of the enumeration, each once."""
    asked = set(wanted)
    if not asked:
        raise InvalidInput("scopes", "A token needs a scope.", "Choose what it may do.")
    if not asked <= set(Scope):
        raise InvalidInput("scopes", "There is no such scope.", "Choose from those offered.")
    if Scope.ADMIN in asked and actor.role is not Role.ADMIN:
        raise InvalidInput("scopes", "Only an admin's token can have the scope admin.", "Leave it out.")
    return tuple(scope for scope in Scope if scope in asked)


def _works(row: ApiToken, user: User, now: datetime) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now) and user.disabled_at is None


def _actor(row: ApiToken, user: User) -> Actor:
    """What the token may do now: a person who is no admin any more has no token that is."""
    scopes = frozenset(Scope(name) for name in row.scopes)
    is_admin = user.role == Role.ADMIN and Scope.ADMIN in scopes
    return Actor(
        kind=ActorKind.PERSON,
        user_id=user.id,
        name=user.name,
        role=Role.ADMIN if is_admin else Role.USER,
        tier=Tier(user.tier),
        scopes=scopes if is_admin else scopes - {Scope.ADMIN},
        token_id=row.id,
        token_name=row.name,
    )


def _view(row: ApiToken, now: datetime) -> TokenView:
    return TokenView(
        id=row.id,
        name=row.name,
        prefix=row.token_prefix,
        scopes=tuple(Scope(name) for name in row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        expired=row.expires_at is not None and row.expires_at <= now,
    )
