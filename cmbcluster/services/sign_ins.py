"""Signing in at a provider: what is kept while the browser is away, and what follows when it is back.

What a sign-in and its answer must agree in is derived from the state in the address and a
key in the browser's cookie, so the database alone, or the address alone, completes nothing.
A state is used once. Nothing is made for somebody who may not enter.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from uuid import UUID

import structlog

from cmbcluster.db.database import Database
from cmbcluster.db.failures import KeyTaken
from cmbcluster.db.models import LinkedIdentity, SignInAttempt, User
from cmbcluster.domain.actors import SYSTEM, Actor, Role, Tier
from cmbcluster.domain.admission import Decision, Entrant, decide, surely_no_admin, surely_shut_out
from cmbcluster.domain.views import IdentityView
from cmbcluster.errors import Conflict, Forbidden, NotFound, SignInFailed
from cmbcluster.identity.port import DEVELOPMENT, Identity, Provider, SignedIn, Ticket
from cmbcluster.provider_settings import ProviderSettings
from cmbcluster.services.denials import records_denials
from cmbcluster.services.people import identity_row
from cmbcluster.services.records import note_activity
from cmbcluster.services.sessions import SessionService
from cmbcluster.services.tokens import new_token, sha256_hex
from cmbcluster.settings import Settings

logger = structlog.get_logger(__name__)

ATTEMPT_SECONDS = 600
FRESH_SECONDS = 600
TOKEN_CHARACTERS = 43  # what new_token makes
LINKED_PATH = "/settings?tab=profile"
STALE = (
    "This sign-in is too old, or it was begun in another browser.",
    "Sign in again from the front page; nothing has changed.",
)
OTHERS = "This account already signs somebody else in here."


class AlreadyUsed(SignInFailed):
    """The state was used before. ``next_path`` is where that sign-in led."""

    def __init__(self, next_path: str) -> None:
        self.next_path = next_path
        super().__init__(
            "This sign-in was already completed.", "Go to the front page; sign in again if it asks you to.", why="used"
        )


@dataclass(frozen=True)
class Begun:
    """Where the browser goes, and the key that its cookie must bring back."""

    provider: Provider
    address: str
    browser_key: str


@dataclass(frozen=True)
class Attempt:
    """A sign-in that came back, once. ``link_session_id``: it adds an identity to that session's person."""

    provider_id: str
    ticket: Ticket
    next_path: str
    link_session_id: UUID | None


@records_denials
class SignInService:
    """Sign-ins at the providers of the settings. Nobody is signed in yet, so there is no actor."""

    def __init__(self, database: Database, identity: Identity, sessions: SessionService, settings: Settings) -> None:
        self._database = database
        self._identity = identity
        self._sessions = sessions
        self._settings = settings
        self._rules = {each.id: each for each in settings.providers}

    def providers(self) -> tuple[Provider, ...]:
        """Who can be asked, the first one first."""
        return self._identity.providers()

    async def shut_old_ways(self, actor: Actor) -> int:
        """End what people hold whom the settings do not let in any more; how many sessions.

        Else the test people of yesterday, who need no password, would stay in a platform that
        has been opened to the world since, and whoever was taken off a list would stay until
        their next sign-in.
        """
        actor.require_system()
        known = self._rules.keys() if self._settings.identity == "oidc" else {DEVELOPMENT}
        async with self._database.transaction() as work:
            # Replicas that start together would wait for each other's rows in any order.
            await work.take_turn("shut_old_ways")
            now = await work.now()
            ended = await work.identities.end_sessions_of_others(tuple(known), now)
            # What scripts hold of these people opens no more than their browsers do.
            await work.api_tokens.revoke_of_others(tuple(known), now)
        if self._settings.identity == "oidc":
            ended += await self._recheck()
        if ended:
            self._sessions.forget_answers()
            logger.warning("sessions ended, since the settings do not admit these people any more", sessions=ended)
        return ended

    async def _recheck(self) -> int:
        """Apply the rules of today to what is kept of people; returns how many sessions ended.

        Claims are not kept, so a rule about them is applied at the next sign-in only.
        """
        async with self._database.reading() as work:
            rows = await work.identities.of_those_inside()
        ended, admins = 0, self._settings.admins
        for user, identities in groupby(rows, key=lambda row: row[1]):
            ways = [
                (rules, _kept_entrant(identity, user))
                for identity, _ in identities
                if (rules := self._rules.get(identity.provider)) is not None
            ]
            if not ways:
                continue
            if all(surely_shut_out(*way) for way in ways):
                ended += await self._end(user.id, ways[0][0].id, alone=True)
            elif user.role == Role.ADMIN and all(surely_no_admin(way[0], admins, way[1]) for way in ways):
                ended += await self._demote(user.id)
        return ended

    async def _demote(self, user_id: UUID) -> int:
        """Take the role of an admin from somebody who has it by no rule any more; returns how many sessions ended."""
        async with self._database.transaction() as work:
            user = await work.users.lock(user_id)
            if user is None or user.role != Role.ADMIN or user.role_granted:
                return 0
            user.role = Role.USER.value
            detail = "Role is user now, by the settings"
            note_activity(work, SYSTEM, "rights_changed", await work.now(), owner_id=user.id, detail=detail)
        return await self._sessions.end_all_of(SYSTEM, user_id)

    async def begin(self, provider_id: str, *, browser_key: str, next_path: str) -> Begun:
        """Begin a sign-in; raises NotFound for an unknown provider, or IdentityUnavailable."""
        return await self._begin(provider_id, browser_key, next_path, None)

    async def begin_link(self, actor: Actor, provider_id: str, *, browser_key: str) -> Begun:
        """Begin adding an identity to a person; raises Forbidden unless they signed in just now."""
        user_id = actor.require_session()
        if actor.session_id is None:
            raise Forbidden("This sign-in cannot link accounts.", "Sign in with a browser.")
        async with self._database.reading() as work:
            now = await work.now()
            found = await work.sessions.by_id(actor.session_id)
        if found is None or found[1].id != user_id or now - found[0].created_at > timedelta(seconds=FRESH_SECONDS):
            # Who finds a browser left open must not be able to add a way in of their own.
            raise Forbidden(
                "Linking an account needs a sign-in of the last 10 minutes.", "Sign out and in again, then link it."
            )
        return await self._begin(provider_id, browser_key, LINKED_PATH, actor.session_id)

    async def _begin(self, provider_id: str, browser_key: str, next_path: str, session_id: UUID | None) -> Begun:
        # The same key serves all tabs of a browser, so that the last one does not break the others.
        key = browser_key if len(browser_key) == TOKEN_CHARACTERS else new_token()
        ticket = self._ticket(provider_id, new_token(), key)
        address = await self._identity.address(provider_id, ticket)
        async with self._database.transaction() as work:
            now = await work.now()
            await work.sign_in_attempts.forget_expired(now - timedelta(seconds=ATTEMPT_SECONDS))
            work.sign_in_attempts.add(
                SignInAttempt(
                    state_sha256=sha256_hex(ticket.state),
                    browser_sha256=sha256_hex(key),
                    provider=provider_id,
                    next_path=next_path[:2000],
                    link_session_id=session_id,
                    expires_at=now + timedelta(seconds=ATTEMPT_SECONDS),
                )
            )
        provider = next(each for each in self.providers() if each.id == provider_id)
        return Begun(provider, address, key)

    async def take(self, provider_id: str, *, browser_key: str, state: str) -> Attempt:
        """The sign-in that came back with this state, to this provider's path, in this browser.

        Raises SignInFailed when there is none, and AlreadyUsed the second time.
        """
        if len(state) != TOKEN_CHARACTERS or len(browser_key) != TOKEN_CHARACTERS:
            raise SignInFailed(*STALE, why="no state or no cookie")
        async with self._database.transaction() as work:
            row = await work.sign_in_attempts.by_state(sha256_hex(state))
            if row is None:
                raise SignInFailed(*STALE, why="unknown state")
            if not hmac.compare_digest(row.browser_sha256, sha256_hex(browser_key)) or row.provider != provider_id:
                raise SignInFailed(*STALE, why="state of another browser or provider")
            if row.used_at is not None:
                raise AlreadyUsed(row.next_path)
            if not await work.sign_in_attempts.use(row.state_sha256, await work.now()):
                raise SignInFailed(*STALE, why="expired")
        return Attempt(provider_id, self._ticket(provider_id, state, browser_key), row.next_path, row.link_session_id)

    async def finish(self, attempt: Attempt, answer: Mapping[str, str], *, browser: str, address: str) -> str:
        """Sign the person in; returns the session's token.

        Raises Forbidden for somebody who may not enter, and what ``Identity.confirm`` raises.
        """
        identity = await self._admitted(attempt, answer)
        return await self._sessions.sign_in(identity, browser=browser, address=address)

    async def finish_link(
        self, actor: Actor, attempt: Attempt, answer: Mapping[str, str], *, browser: str, address: str
    ) -> str:
        """Add the identity to the person who began this; returns the token of a new session.

        Raises Conflict when it is somebody else's already.
        """
        user_id = actor.require_session()
        if attempt.link_session_id is None or attempt.link_session_id != actor.session_id:
            raise Forbidden(
                "You signed out, or in anew, while the account was being linked.", "Link it again from your settings."
            )
        identity = await self._admitted(attempt, answer)
        try:
            await self._link(user_id, actor, identity)
        except KeyTaken as clash:
            raise Conflict(OTHERS, "Sign in with it to see whose it is.") from clash
        # Linking is no sign-in at that provider, so its rules decide nothing about the person yet.
        return await self._sessions.sign_in(
            replace(identity, rules_role=False, rules_tier=False), browser=browser, address=address
        )

    async def identities(self, actor: Actor) -> tuple[IdentityView, ...]:
        """The accounts that sign the person in, the first one first."""
        user_id = actor.require_session()
        names = {each.id: each.name for each in self.providers()}
        async with self._database.reading() as work:
            rows = await work.identities.of(user_id)
        return tuple(
            IdentityView(row.provider, names.get(row.provider, row.provider.capitalize()), row.email, row.created_at)
            for row in rows
        )

    async def _link(self, user_id: UUID, actor: Actor, identity: SignedIn) -> None:
        async with self._database.transaction() as work:
            user = await work.users.lock(user_id)
            found = await work.identities.person(identity.provider, identity.subject)
            if user is None or (found is not None and found[1].id != user_id):
                raise Conflict(OTHERS, "Sign in with it to see whose it is.")
            if found is None:
                now = await work.now()
                work.identities.add(identity_row(user, identity, now))
                await work.flush()
                detail = f"Linked {identity.provider}"
                note_activity(work, actor, "profile_changed", now, owner_id=user_id, detail=detail)

    async def _admitted(self, attempt: Attempt, answer: Mapping[str, str]) -> SignedIn:
        entrant = await self._identity.confirm(attempt.provider_id, attempt.ticket, answer)
        rules = self._rules.get(attempt.provider_id)
        if rules is None:
            raise NotFound("There is no such way to sign in.", "Choose one on the front page.")
        decision = decide(rules, self._settings.admins, entrant)
        if not decision.admitted:
            logger.warning(
                "not admitted", kind="denied", provider=rules.id, subject=entrant.subject, why=decision.why_not
            )
            if attempt.link_session_id is None:
                await self._shut_out(rules.id, entrant.subject)
            raise Forbidden(*self._who_to_ask(rules, entrant))
        return _signed_in(rules, entrant, decision)

    async def _shut_out(self, provider_id: str, subject: str) -> None:
        """End what somebody still holds whom the rules admitted once and do no more.

        Somebody with a second way in keeps their tokens; their sessions end, and they come back by it.
        A provider that the settings have no more is no way in.
        """
        async with self._database.reading() as work:
            found = await work.identities.person(provider_id, subject)
            kept = await work.identities.of(found[1].id) if found is not None else ()
        if found is not None:
            others = [each for each in kept if each.id != found[0].id and each.provider in self._rules]
            await self._end(found[1].id, provider_id, alone=not others)

    async def _end(self, user_id: UUID, provider_id: str, *, alone: bool) -> int:
        """End somebody's sessions, and tokens where there is no other way in; returns how many sessions."""
        async with self._database.transaction() as work:
            now = await work.now()
            revoked = await work.api_tokens.revoke_all_of(user_id, now) if alone else ()
            detail = f"Not admitted any more by the rules for {provider_id}"
            note_activity(work, SYSTEM, "rights_changed", now, owner_id=user_id, detail=detail)
        return await self._sessions.end_all_of(SYSTEM, user_id, revoked)

    def _who_to_ask(self, rules: ProviderSettings, entrant: Entrant) -> tuple[str, str]:
        account = f"{entrant.email} at {rules.name}" if entrant.email else f"Your account at {rules.name}"
        ask = self._settings.contact or "the people who run it"
        # Google lets people choose; others know who somebody is, and send them back as the same.
        other = "choose it when you sign in again" if rules.preset == "google" else f"sign out at {rules.name} first"
        return f"{account} may not use this platform.", f"Ask {ask} to let you in; to use another account, {other}."

    def _ticket(self, provider_id: str, state: str, key: str) -> Ticket:
        def derived(purpose: str) -> str:
            digest = hmac.digest(key.encode(), f"{purpose}:{state}".encode(), "sha256")
            return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

        redirect_uri = f"{self._settings.public_url}/auth/{provider_id}/callback"
        return Ticket(state, derived("nonce"), derived("verifier"), redirect_uri)


def _kept_entrant(identity: LinkedIdentity, user: User) -> Entrant:
    """Somebody as they are kept. Whether the address of a linked identity was verified is not, so it may have been."""
    first = (user.provider, user.subject) == (identity.provider, identity.subject)
    return Entrant(identity.subject, identity.email, user.email_verified if first else True)


def _signed_in(rules: ProviderSettings, entrant: Entrant, decision: Decision) -> SignedIn:
    return SignedIn(
        provider=rules.id,
        subject=entrant.subject,
        email=entrant.email,
        name=entrant.name,
        role=decision.role,
        tier=decision.tier or Tier.FREE,
        email_verified=entrant.email_verified is True,
        rules_role=True,
        rules_tier=decision.tier is not None,
    )
