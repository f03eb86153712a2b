"""Crossing from the dashboard to an environment's own host, and the gate's question.

Only an environment's own cookie opens it, while the session that made the cookie lives and
is its owner's or that of somebody it is shared with; or a personal token of its owner with
the scope *launch*: who reaches an environment runs programs in it, which is more than
reading. Addresses come from the controller's record alone, never from a request.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from cmbcluster.bus.port import Bus, Ring
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.db.database import Database, Work
from cmbcluster.db.models import Environment, GateCode
from cmbcluster.domain.actors import Actor, Scope
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE, GateAnswer, Verdict, cookie_value
from cmbcluster.domain.lifecycle import LAUNCHING, Desired, Phase
from cmbcluster.domain.tiers import LIMITS
from cmbcluster.errors import Forbidden, NotFound
from cmbcluster.services.api_tokens import ApiTokenService
from cmbcluster.services.denials import records_denials
from cmbcluster.services.environments import NOT_YOURS, REFERENCE
from cmbcluster.services.portraits import Frame, portraits
from cmbcluster.services.records import note_activity, note_between
from cmbcluster.services.sessions import SessionService
from cmbcluster.services.tokens import new_token, sha256_hex
from cmbcluster.settings import Settings

CACHE_LIMIT = 10_000
COOKIE_HEADER_LIMIT = 16384
AUDIENCE = "cmbcluster-environment:"
USED_CODE = ("This link has been used or is too old.", "Open the environment again from the dashboard.")


@records_denials
class AccessService:
    """Codes, cookies and verdicts. ``keyring`` signs the cookies of environments."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        settings: Settings,
        sessions: SessionService,
        api_tokens: ApiTokenService,
        keyring: Keyring,
    ) -> None:
        self._database = database
        self._bus = bus
        self._settings = settings
        self._sessions = sessions
        self._api_tokens = api_tokens
        self._keyring = keyring
        self._passes: dict[_Question, tuple[_Found, float]] = {}
        self._asking: dict[_Question, asyncio.Task[_Found]] = {}

    async def mint(self, actor: Actor, environment: UUID | str) -> str:
        """The address that opens the person's environment, or one shared with them, with a one-time code in it.

        ``environment`` is its id, or its slug when the person came from its own address.
        Raises NotFound for missing and foreign ones. An environment at rest has an address
        too: its own host says why it is at rest.
        """
        user_id = actor.require_session()
        if actor.session_id is None:
            raise Forbidden("This sign-in cannot open environments.", "Sign in with a browser.")
        code = new_token()
        async with self._database.transaction() as work:
            environment_id = await _id_of(work, environment)
            row = await _may_open(work, environment_id, user_id) if environment_id else None
            if row is None:
                raise NotFound(*NOT_YOURS)
            now = await work.now()
            await work.gate_codes.forget_expired(now - timedelta(hours=1))
            work.gate_codes.add(
                GateCode(
                    code_sha256=sha256_hex(code),
                    session_id=actor.session_id,
                    environment_id=row.id,
                    expires_at=now + timedelta(seconds=self._settings.gate_code_seconds),
                )
            )
            _note_opened(work, actor, row, now)
        for reader in {user_id, row.owner_id}:
            await self._bus.publish(Ring(f"user:{reader}", "activity"))
        return f"{self._settings.environment_url(row.slug)}/.cmb/enter?code={code}"

    async def redeem(self, host: str, code: str) -> str:
        """The value of the environment's cookie for a code; each code works once.

        Raises Forbidden for a code that is used, too old, of another host, or whose
        session has ended.
        """
        if not code or len(code) > 200:
            raise Forbidden(*USED_CODE)
        async with self._database.transaction() as work:
            now = await work.now()
            kept = await work.gate_codes.use(sha256_hex(code), now)
            row = await work.environments.by_id(kept.environment_id) if kept else None
        if kept is None or row is None or self._slug_of(host) != row.slug:
            raise Forbidden(*USED_CODE)
        if await self._sessions.alive(kept.session_id) is None:
            raise Forbidden(*USED_CODE)
        claims = {
            "aud": AUDIENCE + row.slug,
            "env": str(row.id),
            "sid": str(kept.session_id),
            "exp": int(now.timestamp()) + self._settings.environment_cookie_seconds,
        }
        return self._keyring.sign(claims)

    async def authorize(self, host: str, cookie: str, *, token: str = "", touch: bool = True) -> GateAnswer:
        """May a request with this Host and Cookie header reach the environment, and where is it?

        ``token``: the personal token that came with it, if any; the cookie counts for nothing then.
        ``touch`` false: a question that the person did not cause, such as a connection's own
        re-check, so that an open notebook alone does not keep a session alive.
        A pass may be reused for ``session_cache_seconds`` and is dropped at once when the
        bus says that a session or an environment changed. Equal questions that come while
        one is looked up wait for its answer: a page that loads a hundred files asks once.
        What the person did is noted after the answer, so that a reused one does not hide it.
        """
        found = await self._find(_Question(host, "" if token else _cookie_in(cookie), token), touch=touch)
        if touch and found.session_id is not None and found.answer.verdict is Verdict.PASS:
            await self._sessions.saw(found.session_id)
        return found.answer

    async def _find(self, key: _Question, *, touch: bool) -> _Found:
        known = self._passes.get(key)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._look_up(key, touch=touch))
        return await asyncio.shield(asking)

    def forget_passes(self) -> None:
        """Drop every reused pass, also those that are just being looked up."""
        self._passes.clear()
        self._asking.clear()

    async def _look_up(self, key: _Question, *, touch: bool) -> _Found:
        this = asyncio.current_task()
        try:
            found = await self._authorize(key, touch=touch)
            # Not after a change meanwhile: what was read may be older than the change.
            if found.answer.verdict is Verdict.PASS and self._asking.get(key) is this:
                if len(self._passes) >= CACHE_LIMIT:
                    self._passes.clear()
                self._passes[key] = (found, time.monotonic() + self._settings.session_cache_seconds)
            return found
        finally:
            if self._asking.get(key) is this:
                del self._asking[key]

    async def _authorize(self, asked: _Question, *, touch: bool) -> _Found:
        slug = self._slug_of(asked.host)
        async with self._database.reading() as work:
            row = await work.environments.by_slug(slug) if slug else None
            now = await work.now()
        if not slug:
            return _Found(GateAnswer(Verdict.NOT_YOURS))
        # Missing and foreign environments look the same: the way in leads over /open, which
        # says "no such environment" after the sign-in.
        open_url = f"{self._settings.public_url}/open/{slug}"
        actor = await self._visitor(asked, row, now, touch=touch)
        if actor is None:
            return _Found(GateAnswer(Verdict.SIGN_IN, open_url=open_url))
        if actor.scopes is not None and Scope.LAUNCH not in actor.scopes:
            return _Found(GateAnswer(Verdict.NO_SCOPE))
        if row is None or not await self._may_reach(row, actor):
            return _Found(GateAnswer(Verdict.NOT_YOURS))
        return _Found(await self._whereabouts(row, actor, open_url), actor.session_id)

    async def _may_reach(self, row: Environment, actor: Actor) -> bool:
        """The owner may, and a guest who is there in person; a guest's tokens reach nothing of the owner's."""
        if row.gone_at is not None:
            return False
        if actor.user_id == row.owner_id:
            return True
        if actor.scopes is not None:
            return False
        async with self._database.reading() as work:
            return await work.shares.opens(row.id, actor.person())

    async def _visitor(self, asked: _Question, row: Environment | None, now: datetime, *, touch: bool) -> Actor | None:
        """Who asks: the person of the token, or of the session behind the environment's cookie."""
        if asked.token:
            return await self._api_tokens.find(asked.token, touch=touch, fresh=True)
        claims = self._claims(asked.cookie, row, now) if row is not None and row.gone_at is None else None
        return await self._sessions.alive(UUID(claims["sid"]), touch=False) if claims else None

    async def _whereabouts(self, row: Environment, actor: Actor, open_url: str) -> GateAnswer:
        """Where the environment is, or why it is nowhere at the moment."""
        guest = actor.user_id != row.owner_id
        if row.phase in (Phase.RUNNING, Phase.UNKNOWN) and row.desired == Desired.RUNNING and row.endpoint_port:
            return GateAnswer(Verdict.PASS, host=row.endpoint_host, port=row.endpoint_port, guest=guest)
        async with self._database.reading() as work:
            frame = Frame(await work.now(), LIMITS[actor.tier], self._settings)
            view = (await portraits(work, [row], frame))[0]
        verdict = Verdict.AT_REST
        if row.desired == Desired.RUNNING and row.phase in LAUNCHING:
            verdict = Verdict.LAUNCHING
        elif row.desired == Desired.RUNNING and row.phase in (Phase.RUNNING, Phase.UNKNOWN):
            verdict = Verdict.UNSEEN
        return GateAnswer(verdict, open_url=open_url, environment=view, guest=guest)

    def _slug_of(self, host: str) -> str:
        """The slug of an environment's host, or nothing for any other host."""
        name = host.strip().lower().rsplit(":", 1)[0] if ":" in host else host.strip().lower()
        slug, _, parent = name.partition(".")
        return slug if parent == self._settings.host else ""

    def _claims(self, value: str, row: Environment, now: datetime) -> dict[str, str] | None:
        claims = self._keyring.verified(value, AUDIENCE + row.slug)
        if claims is None or claims.get("env") != str(row.id) or claims["exp"] < now.timestamp():
            return None
        try:
            return {"sid": str(UUID(str(claims["sid"])))}
        except (KeyError, ValueError):
            return None


class _Found(NamedTuple):
    """An answer, and the session of the person who asked, if they came with one."""

    answer: GateAnswer
    session_id: UUID | None = None


class _Question(NamedTuple):
    """What an answer of the gate depends on; equal ones share it."""

    host: str
    cookie: str
    token: str


async def _may_open(work: Work, environment_id: UUID, user_id: UUID) -> Environment | None:
    """The environment when it is the person's or shared with them; None for missing and foreign alike."""
    row = await work.environments.owned(environment_id, user_id)
    if row is None and await work.shares.opens(environment_id, user_id):
        row = await work.environments.by_id(environment_id)
    return row


def _note_opened(work: Work, actor: Actor, row: Environment, now: datetime) -> None:
    """In the log of who opened it, and of its owner when that is somebody else."""
    if actor.user_id == row.owner_id:
        note_activity(work, actor, "opened", now, owner_id=row.owner_id, environment=row)
    else:
        note_between(work, actor, "opened", now, guest_id=actor.person(), environment=row)


async def _id_of(work: Work, environment: UUID | str) -> UUID | None:
    if isinstance(environment, UUID):
        return environment
    try:
        return UUID(environment)
    except ValueError:
        row = await work.environments.by_slug(environment) if REFERENCE.fullmatch(environment) else None
        return row.id if row is not None else None


def _cookie_in(header: str) -> str:
    return cookie_value(header, ENVIRONMENT_COOKIE) if len(header) <= COOKIE_HEADER_LIMIT else ""
