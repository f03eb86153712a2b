"""A platform made of memory: the pages' own tests and pictures run against it.

It answers like the services do, with environments in every phase, so that pages can be
seen without a runtime. It must never be imported by the package.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid5

from cmbcluster.bus.memory import MemoryBus
from cmbcluster.bus.port import Ring
from cmbcluster.domain.actors import Actor, ActorKind, Role, Scope, Tier
from cmbcluster.domain.images import ImageSource, PinnedImage, check_allowed, check_image
from cmbcluster.domain.interpreters import check_wanted_python
from cmbcluster.domain.lifecycle import AT_REST, LAUNCHING, Desired, Phase, Stage, StopReason
from cmbcluster.domain.naming import clean_name
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.domain.sources import Program, PythonSource, check_command, check_port, check_requirements
from cmbcluster.domain.tiers import GIB, LIMITS, MIB, SIZES, sizes_within, uptimes_within
from cmbcluster.domain.tokens import token_of
from cmbcluster.domain.views import (
    ActivityPage,
    ActivityView,
    ApplicationView,
    EnvironmentPage,
    EnvironmentView,
    GuestView,
    IdentityView,
    LimitsView,
    NoticeView,
    PersonView,
    ProtectionView,
    ReasonView,
    RegistryAccountView,
    SessionView,
    SharedView,
    StageView,
    StandingView,
    TokenView,
    UsageView,
)
from cmbcluster.errors import InvalidInput, NotFound, QuotaExceeded
from cmbcluster.identity.port import Person
from cmbcluster.runtime.port import LogLine

SPACE = UUID("0192f000-0000-7000-8000-000000000000")
DIGEST = "sha256:9c1e4b7a5d2f8e6301c4b97a5e8d2f6b13c09a7e5d4f8b2a6c1e9d3f7a5b07d0"
OWN_NETWORK = ProtectionView("own-network", "systemd", "", "")
SANDBOX = ProtectionView(
    "sandbox",
    "measured",
    "It shares this machine's network, because pasta is not installed.",
    "sudo apt-get install --yes passt",
)
PEOPLE = (
    Person("ada", "Ada Lovell", "Researcher, free tier"),
    Person("elena", "Elena Marchetti", "Researcher, premium tier"),
    Person("ravi", "Ravi Nair", "Admin, premium tier"),
)


def key(name: str) -> UUID:
    """The same id for the same name, always."""
    return uuid5(SPACE, name)


def source(*requirements: str, python: str = "3.12", as_of: str = "") -> PythonSource:
    return PythonSource(requirements or ("jupyterlab", "numpy", "healpy"), python, as_of)


APPLICATIONS = (
    (
        "jupyterlab",
        "JupyterLab",
        "Notebooks",
        "jupyter",
        "medium",
        20.0,
        (),
        "Notebooks, terminals and a file browser, with healpy, CAMB and getdist installed.",
    ),
    (
        "cmbagent",
        "CMBAgent",
        "Agents",
        "agent",
        "medium",
        60.0,
        ("OPENAI_API_KEY",),
        "A team of agents that plans, codes and checks a cosmology analysis with you.",
    ),
    (
        "denario",
        "Denario",
        "Agents",
        "denario",
        "large",
        50.0,
        ("OPENAI_API_KEY", "GOOGLE_API_KEY"),
        "From data description to idea, methods, results and a paper draft.",
    ),
    (
        "cmb-explorer",
        "CMB explorer",
        "Maps",
        "explorer",
        "small",
        5.0,
        (),
        "CAMB spectra with sliders, and a map of the sky to look at. Enjoyed in the first minute.",
    ),
    (
        "custom",
        "Your own application",
        "Your own",
        "custom",
        "medium",
        None,
        (),
        "Your own packages and start command. It must answer on one port.",
    ),
)


def application(row: tuple[Any, ...]) -> ApplicationView:
    own = row[0] == "custom"
    program = None if own else Program(("python", "-m", row[0]), 8501, "/_stcore/health")
    made_of = None if own else source(row[0], as_of="2025-11-15" if "OPENAI_API_KEY" in row[6] else "")
    return ApplicationView(
        row[0], row[1], row[2], row[7], row[3], made_of, None, program, row[4], row[6], row[5], takes_image=own
    )


CATALOGUE = tuple(application(row) for row in APPLICATIONS)
ELSEWHERE = replace(
    CATALOGUE[3],
    id="sky-server",
    name="Sky server",
    summary="A tile server for maps of the whole sky, as the observatory publishes it.",
    source=None,
    image=ImageSource("docker.io/observatory/sky-server:2.1"),
    unavailable="It is a container image. This platform runs Python packages, not container images.",
)


def stage(
    name: Stage, start: datetime | None, took: float | None, usual: float | None = None, **more: Any
) -> StageView:
    """One stage; ``took`` None means under way (or waiting, without a start)."""
    end = start + timedelta(seconds=took) if start is not None and took is not None else None
    values = {"done": 0, "total": None, "unit": "", "detail": "", "failed": False} | more
    return StageView(stage=name, started_at=start, ended_at=end, usual_seconds=usual, **values)


def launched(start: datetime, *lengths: float) -> tuple[StageView, ...]:
    """A whole launch that ended well."""
    order = (Stage.QUEUED, Stage.RESOLVING, Stage.DOWNLOADING, Stage.INSTALLING, Stage.STARTING, Stage.PORT)
    stages, at = [], start
    for name, length in zip(order, lengths, strict=True):
        more: dict[str, Any] = {}
        if name is Stage.DOWNLOADING:
            more = {"done": 402 * MIB, "total": 402 * MIB, "unit": "bytes"}
        if name is Stage.INSTALLING:
            more = {"done": 118, "total": 118, "unit": "packages"}
        stages.append(stage(name, at, length, length, **more))
        at += timedelta(seconds=length)
    return tuple(stages)


def environment(name: str, app: str, phase: Phase, now: datetime, **more: Any) -> EnvironmentView:
    """An environment with everything in it; ``more`` overrides."""
    about = next(a for a in CATALOGUE if a.id == app)
    size = next(s for s in SIZES if s.id == about.size)
    running = phase in (Phase.RUNNING, Phase.UNKNOWN)
    since = more.pop("running_since", now - timedelta(hours=2, minutes=18) if running else None)
    uptime = more.pop("uptime_seconds", 6 * 3600)
    deadline = more.pop("deadline_at", since + timedelta(seconds=uptime) if since and running else None)
    asked = more.pop("asked_at", (since or now) - timedelta(seconds=47))
    values: dict[str, Any] = {
        "id": key(name),
        "name": name,
        "slug": f"{name}-x7kq2m",
        "address": f"http://{name}-x7kq2m.localhost:8200",
        "application_id": app,
        "application_name": about.name,
        "icon": about.icon,
        "desired": Desired.RUNNING if phase in LAUNCHING or running else Desired.STOPPED,
        "phase": phase,
        "phase_since": asked + timedelta(seconds=47),
        "generation": 1,
        "cpu_millis": size.cpu_millis,
        "memory_bytes": size.memory_bytes,
        "uptime_seconds": uptime,
        "created_at": asked,
        "asked_at": asked,
        "running_since": since,
        "deadline_at": deadline,
        "last_seen_at": now,
        "can_extend": phase is Phase.RUNNING,
        "extends_to": deadline + timedelta(hours=6) if deadline and phase is Phase.RUNNING else None,
        "reason": None,
        "source": about.source or source("streamlit", "healpy>=1.16"),
        "image": None,
        "program": about.program or Program(("streamlit", "run", "app.py"), 8501, "/_stcore/health"),
        "lock_digest": DIGEST,
        "lock_packages": 118,
        "protection": OWN_NETWORK,
        "stages": launched(asked, 0.4, 2.1, 21, 12.2, 8, 3.3),
        "workspace_bytes": int(18.3 * GIB),
        "workspace_measured_at": now - timedelta(minutes=1),
    }
    return EnvironmentView(**{**values, **more})


def building(now: datetime) -> EnvironmentView:
    """A launch in the middle of its downloads."""
    asked = now - timedelta(seconds=38)
    stages = (
        stage(Stage.QUEUED, asked, 0.4, 0.5),
        stage(Stage.RESOLVING, asked + timedelta(seconds=0.4), 2.1, 2.5, detail="118 packages"),
        stage(
            Stage.DOWNLOADING, asked + timedelta(seconds=2.5), None, 52.0, done=249 * MIB, total=402 * MIB, unit="bytes"
        ),
        stage(Stage.INSTALLING, None, None, 9.0),
        stage(Stage.STARTING, None, None, 7.0),
        stage(Stage.PORT, None, None, 3.0),
    )
    return environment(
        "act-dr6-lensing",
        "cmbagent",
        Phase.PULLING,
        now,
        asked_at=asked,
        phase_since=asked,
        stages=stages,
        workspace_bytes=None,
    )


def failed(now: datetime) -> EnvironmentView:
    """A launch that ran out of memory."""
    asked = now - timedelta(minutes=14)
    at = asked + timedelta(seconds=6.1)
    tail = (
        "loading chains/desi_dr2_bao.1.txt … 4 (2.4 GB of text)\ngetdist    ignoring the first 30 % of rows\n"
        "warning    1.8 of 2.0 GiB used\nKilled: memory limit of 2 GiB reached (exit code 137)"
    )
    stages = (
        stage(Stage.QUEUED, asked, 0.3),
        stage(Stage.RESOLVING, asked + timedelta(seconds=0.3), 1.7, detail="kept from the last start"),
        stage(Stage.INSTALLING, asked + timedelta(seconds=2), 4.1, detail="already there"),
        stage(Stage.STARTING, at, 14.2, failed=True, detail="stopped by the memory limit"),
    )
    reason = ReasonView(
        StopReason.MEMORY,
        "It ran out of memory while starting.",
        "Start it with 4 GiB. Its workspace is untouched.",
        tail,
    )
    return environment(
        "desi-dr2-bao-chains",
        "jupyterlab",
        Phase.FAILED,
        now,
        asked_at=asked,
        phase_since=asked + timedelta(seconds=20.3),
        cpu_millis=1000,
        memory_bytes=2 * GIB,
        stages=stages,
        reason=reason,
        protection=SANDBOX,
        workspace_bytes=int(8.1 * GIB),
    )


def own_failed(now: datetime) -> EnvironmentView:
    """A launch of somebody's own application whose command was wrong."""
    asked = now - timedelta(minutes=3)
    reason = ReasonView(
        StopReason.EXITED, "It ended with code 2 before it answered.", "Read its last lines.", "error: no such option"
    )
    return environment(
        "beam-viewer-2",
        "custom",
        Phase.FAILED,
        now,
        asked_at=asked,
        phase_since=asked + timedelta(seconds=9),
        cpu_millis=1000,
        memory_bytes=2 * GIB,
        uptime_seconds=3600,
        source=source("streamlit>=1.40", "healpy", python=">=3.11,<3.14", as_of="2026-03-01"),
        program=Program(
            ("streamlit", "run", "my app.py", "--server.port", "{port}", "--title", "it's"), 8600, "/_stcore/health"
        ),
        stages=(stage(Stage.QUEUED, asked, 0.3), stage(Stage.STARTING, asked, 8.7, failed=True)),
        reason=reason,
        workspace_bytes=17,
    )


def of_an_image(now: datetime) -> EnvironmentView:
    """Somebody's own application as a container image."""
    asked = now - timedelta(minutes=26)
    pinned = PinnedImage("ghcr.io/cmb-group/map-server", DIGEST, 1_240_000_000)
    stages = (
        stage(Stage.QUEUED, asked, 0.3, 0.4),
        stage(Stage.RESOLVING, asked + timedelta(seconds=0.3), 0.8, detail="2.4 → sha256:9c1e4b7a5d2f, 1.2 GB"),
        stage(Stage.STARTING, asked + timedelta(seconds=1.1), 24.0),
        stage(Stage.PORT, asked + timedelta(seconds=25.1), 2.2),
    )
    return environment(
        "map-server",
        "custom",
        Phase.RUNNING,
        now,
        asked_at=asked,
        running_since=asked + timedelta(seconds=27.3),
        source=ImageSource("ghcr.io/cmb-group/map-server:2.4"),
        image=pinned,
        program=Program((), 8888, "/healthz"),
        lock_digest="",
        lock_packages=0,
        stages=stages,
    )


def elenas(now: datetime, ending: bool) -> list[EnvironmentView]:
    """One environment for every phase; ``ending``: one of them in its last minutes."""
    asked = StopReason.ASKED
    rested = now - timedelta(days=3, hours=2)
    made = [
        environment("planck-lowl-anomalies", "denario", Phase.RUNNING, now, has_previous_run=True),
        building(now),
        failed(now),
        environment(
            "spt3g-foregrounds",
            "cmb-explorer",
            Phase.STOPPED,
            now,
            asked_at=rested,
            phase_since=rested,
            reason=ReasonView(asked, "You stopped it.", "Start it again whenever you like.", ""),
            workspace_bytes=int(12.6 * GIB),
        ),
        environment(
            "s4-forecasts",
            "jupyterlab",
            Phase.STOPPED,
            now,
            asked_at=now - timedelta(days=4),
            phase_since=now - timedelta(days=4),
            reason=ReasonView(StopReason.DEADLINE, "Its time ran out.", "Start it again.", ""),
            workspace_bytes=int(31.2 * GIB),
        ),
        environment(
            "so-lat-maps",
            "jupyterlab",
            Phase.UNKNOWN,
            now,
            last_seen_at=now - timedelta(seconds=95),
            running_since=now - timedelta(hours=1),
            asked_at=now - timedelta(hours=1, minutes=1),
        ),
    ]
    if ending:
        for name, left in (("litebird-beams", 860), ("quijote-mocks", 263)):
            since = now - timedelta(seconds=3600 - left)
            made.append(
                environment(
                    name,
                    "cmb-explorer",
                    Phase.RUNNING,
                    now,
                    running_since=since,
                    uptime_seconds=3600,
                    can_extend=name == "litebird-beams",
                    protection=SANDBOX,
                )
            )
    return made


def elenas_tokens(now: datetime) -> list[TokenView]:
    """One in use, one that never was, one that has expired."""
    read, launch, day = Scope.READ, Scope.LAUNCH, timedelta(days=1)
    return [
        TokenView(
            key("t1"),
            "Nightly run",
            "cmb_4Kd81mZq",
            (read, launch),
            now - 12 * day,
            now + 78 * day,
            now - timedelta(minutes=4),
            False,
        ),
        TokenView(key("t2"), "Laptop", "cmb_0Vb3tYcA", (read,), now - 2 * day, None, None, False),
        TokenView(
            key("t3"), "Workshop", "cmb_9sJw2LxP", (read, launch), now - 40 * day, now - 33 * day, now - 34 * day, True
        ),
    ]


@dataclass
class Account:
    """One person of the stage and their things."""

    actor: Actor
    email: str
    environments: list[EnvironmentView] = field(default_factory=list)
    activity: list[ActivityView] = field(default_factory=list)
    notices: list[NoticeView] = field(default_factory=list)
    tokens: list[TokenView] = field(default_factory=list)
    guests: list[tuple[UUID, GuestView]] = field(default_factory=list)
    registries: list[RegistryAccountView] = field(default_factory=list)


class Platform:
    """The services, all in one object; ``shape()`` gives it the shape of ``Parts``."""

    def __init__(self, *, ending: bool = False) -> None:
        self.bus = MemoryBus()
        self.ordered: LaunchOrder | None = None
        self.now = datetime.now(UTC)
        self.accounts_by_token: dict[str, Account] = {}
        for person in PEOPLE:
            tier = Tier.FREE if person.id == "ada" else Tier.PREMIUM
            role = Role.ADMIN if person.id == "ravi" else Role.USER
            actor = Actor(
                ActorKind.PERSON, key(person.id), person.name, role, tier, key(f"{person.id} session"), "127.0.0.1"
            )
            self.accounts_by_token[person.id] = Account(actor, f"{person.id}@example.org")
        elena = self.accounts_by_token["elena"]
        elena.environments = elenas(self.now, ending)
        self._remember(elena)
        elena.tokens = elenas_tokens(self.now)
        guest = GuestView(key("ravi"), "Ravi Nair", self.now - timedelta(days=1))
        elena.guests = [(key("planck-lowl-anomalies"), guest)]
        self.accounts_by_token["ravi"].environments = [own_failed(self.now)]
        mira = Actor(ActorKind.PERSON, key("mira"), "Mira Oduya", Role.USER, Tier.PREMIUM, key("mira session"))
        self.accounts_by_token["mira"] = Account(mira, "mira@example.org", [of_an_image(self.now)])
        since = self.now - timedelta(days=20)
        self.accounts_by_token["mira"].registries = [
            RegistryAccountView(key("r1"), "docker.io", "mira", since),
            RegistryAccountView(key("r2"), "ghcr.io", "mira-at-the-cmb-group", since),
        ]

    def _remember(self, account: Account) -> None:
        rows = (
            (0.5, "launched", "act-dr6-lensing", ""),
            (14, "failed", "desi-dr2-bao-chains", "It ran out of memory while starting."),
            (14.4, "launched", "desi-dr2-bao-chains", ""),
            (60, "opened", "planck-lowl-anomalies", ""),
            (138, "running", "planck-lowl-anomalies", "Ready after 47 s"),
            (139, "launched", "planck-lowl-anomalies", ""),
            (140, "signed_in", "", "Chromium on Linux"),
            (4400, "stopping", "spt3g-foregrounds", ""),
        )
        for minutes, kind, name, detail in rows:
            self._note(account, kind, name, detail, at=self.now - timedelta(minutes=minutes))
        account.activity.sort(key=lambda a: a.at, reverse=True)
        failed_id = key("desi-dr2-bao-chains")
        account.notices = [
            NoticeView(
                key("n1"),
                self.now - timedelta(minutes=14),
                "failed",
                failed_id,
                "desi-dr2-bao-chains",
                "desi-dr2-bao-chains ran out of memory while starting.",
                True,
            ),
            NoticeView(
                key("n2"),
                self.now - timedelta(days=4),
                "warned",
                key("s4-forecasts"),
                "s4-forecasts",
                "s4-forecasts stops in 15 min.",
                False,
            ),
        ]

    def _note(self, account: Account, kind: str, name: str, detail: str = "", at: datetime | None = None) -> None:
        row = ActivityView(
            key(f"{kind}{name}{len(account.activity)}"),
            at or datetime.now(UTC),
            kind,
            "",
            key(name) if name else None,
            name,
            detail,
            "failed" if kind == "failed" else "ok",
            "127.0.0.1",
            "3f9a1c22d4e5b6a7",
        )
        account.activity.insert(0, row)

    def account(self, actor: Actor) -> Account:
        user_id = actor.person()
        return next(a for a in self.accounts_by_token.values() if a.actor.user_id == user_id)

    async def ring(self, actor: Actor) -> None:
        await self.bus.publish(Ring(f"user:{actor.user_id}"))

    # ---- accounts, sessions ----

    async def person(self, actor: Actor) -> PersonView:
        account = self.account(actor)
        return PersonView(
            actor.person(), account.actor.name, account.email, actor.role, actor.tier, datetime(2025, 3, 4, tzinfo=UTC)
        )

    async def rename_person(self, actor: Actor, name: str) -> PersonView:
        if not name.strip():
            raise InvalidInput("name", "A name is needed.", "Type yours.")
        account = self.account(actor)
        account.actor = replace(account.actor, name=name.strip())
        await self.ring(actor)
        return await self.person(actor)

    async def limits(self, actor: Actor) -> LimitsView:
        views, limits = self.account(actor).environments, LIMITS[actor.tier]
        busy = sum(v.phase not in AT_REST for v in views)
        return LimitsView(actor.tier, limits, busy, len(views), sizes_within(limits), uptimes_within(limits))

    async def find(self, token: str, *, touch: bool = True, opened: bool = False) -> Actor | None:
        account = self.accounts_by_token.get(token)
        return account.actor if account else None

    async def identities(self, actor: Actor) -> tuple[IdentityView, ...]:
        return (IdentityView("development", "Development", self.account(actor).email, self.now),)

    async def standing(self, actor: Actor) -> StandingView:
        now = datetime.now(UTC)
        # Ravi has not touched anything for a while.
        left = timedelta(seconds=95) if actor.user_id == key("ravi") else timedelta(minutes=30)
        return StandingView(now + left, now + timedelta(hours=10), now)

    async def stay(self, actor: Actor) -> StandingView:
        now = datetime.now(UTC)
        return StandingView(now + timedelta(minutes=30), now + timedelta(hours=10), now)

    async def mine(self, actor: Actor) -> tuple[SessionView, ...]:
        now = datetime.now(UTC)
        here = actor.session_id or key("s")
        return (
            SessionView(
                here, now - timedelta(hours=2), now, now + timedelta(hours=10), "Chromium on Linux", "127.0.0.1", True
            ),
            SessionView(
                key("other"),
                now - timedelta(days=1),
                now - timedelta(minutes=22),
                now + timedelta(hours=3),
                "Firefox on macOS",
                "127.0.0.1",
                False,
            ),
        )

    async def end(self, actor: Actor, session_id: UUID) -> None:
        self._note(self.account(actor), "session_ended", "")
        await self.ring(actor)

    async def end_others(self, actor: Actor) -> int:
        return 1

    # ---- tokens ----

    async def tokens(self, actor: Actor) -> tuple[TokenView, ...]:
        return tuple(self.account(actor).tokens)

    async def make_token(self, actor: Actor, name: str, scopes: list[str], days: int | None) -> Any:
        if not name.strip():
            raise InvalidInput("name", "A name is needed.", "Type what it is for, such as laptop or nightly run.")
        now, secret = datetime.now(UTC), token_of(SPACE.int)
        ends = now + timedelta(days=days) if days else None
        view = TokenView(
            key(f"token {name}"), name, secret[:12], tuple(Scope(each) for each in scopes), now, ends, None, False
        )
        self.account(actor).tokens.insert(0, view)
        await self.ring(actor)
        return SimpleNamespace(secret=secret, view=view)

    async def revoke_token(self, actor: Actor, token_id: UUID) -> None:
        account = self.account(actor)
        account.tokens = [view for view in account.tokens if view.id != token_id]
        await self.ring(actor)

    # ---- registries ----

    async def registries(self, actor: Actor) -> tuple[RegistryAccountView, ...]:
        return tuple(self.account(actor).registries)

    async def enter_account(self, actor: Actor, registry: str, username: str, secret: str) -> RegistryAccountView:
        if not username.strip():
            raise InvalidInput("username", "There is no user name.", "Type the one you sign in there with.")
        view = RegistryAccountView(key(f"registry {registry}"), registry, username.strip(), datetime.now(UTC))
        account = self.account(actor)
        account.registries = [*(each for each in account.registries if each.registry != registry), view]
        await self.ring(actor)
        return view

    async def remove_account(self, actor: Actor, account_id: UUID) -> None:
        account = self.account(actor)
        account.registries = [view for view in account.registries if view.id != account_id]
        await self.ring(actor)

    # ---- catalogue ----

    async def applications(self, actor: Actor, *, search: str = "", category: str = "") -> tuple[ApplicationView, ...]:
        # Mira's platform has an entry that it cannot run.
        here = (*CATALOGUE, ELSEWHERE) if actor.user_id == key("mira") else CATALOGUE
        found = (a for a in here if search.lower() in f"{a.name} {a.summary}".lower())
        return tuple(a for a in found if category in ("", a.category))

    async def categories(self, actor: Actor) -> tuple[str, ...]:
        return tuple(dict.fromkeys(a.category for a in CATALOGUE))

    async def application(self, actor: Actor, application_id: str) -> ApplicationView:
        for found in CATALOGUE:
            if found.id == application_id:
                return found
        raise NotFound("There is no such application.", "Choose one from the catalogue.")

    # ---- environments ----

    async def get(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        for view in self.account(actor).environments:
            if view.id == environment_id:
                return view
        raise NotFound("There is no such environment, or it is not yours.", "Go to Home.")

    async def page(
        self,
        actor: Actor,
        *,
        search: str = "",
        phase: str = "",
        sort: str = "-asked_at",
        offset: int = 0,
        limit: int = 25,
    ) -> EnvironmentPage:
        kinds = {
            "running": {Phase.RUNNING, Phase.UNKNOWN},
            "launching": LAUNCHING,
            "stopped": {Phase.STOPPED},
            "failed": {Phase.FAILED},
        }
        rows = [v for v in self.account(actor).environments if search.lower() in v.name]
        rows = [v for v in rows if not phase or v.phase in kinds.get(phase, ())]
        rows.sort(key=lambda v: getattr(v, sort.lstrip("-")), reverse=sort.startswith("-"))
        return EnvironmentPage(tuple(rows[offset : offset + limit]), len(rows), offset)

    async def launch(self, actor: Actor, order: LaunchOrder) -> EnvironmentView:
        self.ordered = order
        name, now = clean_name(order.name), datetime.now(UTC)
        limits = await self.limits(actor)
        if limits.running >= limits.limits.running_at_once:
            raise QuotaExceeded(
                f"You have {limits.running} of {limits.limits.running_at_once} running.", "Stop one, then launch this."
            )
        if order.custom is not None:
            if order.custom.image:
                check_allowed(check_image(order.custom.image), ("docker.io", "ghcr.io"))
            else:
                check_requirements(order.custom.requirements)
                check_wanted_python(order.custom.python)
                check_command(order.custom.command)
            check_port(order.custom.port)
        stages = (stage(Stage.QUEUED, now, None),)
        view = environment(
            name, order.application_id, Phase.QUEUED, now, asked_at=now, stages=stages, workspace_bytes=None
        )
        self.account(actor).environments.append(view)
        self._note(self.account(actor), "launched", name)
        await self.ring(actor)
        return view

    async def change(self, actor: Actor, environment_id: UUID, kind: str, **values: Any) -> EnvironmentView:
        view = replace(await self.get(actor, environment_id), **values)
        account = self.account(actor)
        account.environments = [view if v.id == environment_id else v for v in account.environments]
        if kind:
            self._note(account, kind, view.name)
        await self.ring(actor)
        return view

    async def start(self, actor: Actor, environment_id: UUID, *, size: str = "") -> EnvironmentView:
        now = datetime.now(UTC)
        stages = (stage(Stage.QUEUED, now, None),)
        return await self.change(
            actor, environment_id, "started", phase=Phase.QUEUED, asked_at=now, stages=stages, reason=None
        )

    async def stop(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        return await self.change(
            actor, environment_id, "stopping", phase=Phase.STOPPING, deadline_at=None, can_extend=False
        )

    async def extend(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        view = await self.get(actor, environment_id)
        return await self.change(actor, environment_id, "extended", deadline_at=view.extends_to)

    async def rename(self, actor: Actor, environment_id: UUID, name: str) -> EnvironmentView:
        return await self.change(actor, environment_id, "renamed", name=clean_name(name))

    async def update(self, actor: Actor, environment_id: UUID) -> EnvironmentView:
        return await self.change(actor, environment_id, "updated", lock_digest="")

    async def delete(self, actor: Actor, environment_id: UUID, *, typed_name: str, remove_workspace: bool) -> None:
        view = await self.get(actor, environment_id)
        if remove_workspace and typed_name != view.name:
            raise InvalidInput("typed_name", "That is not its name.", f"Type {view.name}.")
        await self.change(actor, environment_id, "deleted", phase=Phase.DELETING)

    # ---- sharing ----

    async def guests(self, actor: Actor, environment_id: UUID) -> tuple[GuestView, ...]:
        await self.get(actor, environment_id)
        return tuple(g for where, g in self.account(actor).guests if where == environment_id)

    async def share(self, actor: Actor, environment_id: UUID, person: str) -> GuestView:
        view = await self.get(actor, environment_id)
        if person != "ada@example.org":
            raise InvalidInput("person", "Nobody was found under that address or name.", "Check it.")
        guest = GuestView(key("ada"), "Ada Lovell", datetime.now(UTC))
        account = self.account(actor)
        account.guests = [*account.guests, (environment_id, guest)]
        self._note(account, "shared", view.name)
        await self.ring(actor)
        return guest

    async def withdraw(self, actor: Actor, environment_id: UUID, user_id: UUID) -> None:
        await self.get(actor, environment_id)
        account = self.account(actor)
        account.guests = [(where, g) for where, g in account.guests if (where, g.id) != (environment_id, user_id)]
        await self.ring(actor)

    async def shared(self, actor: Actor) -> tuple[SharedView, ...]:
        if actor.user_id != key("elena"):
            return ()
        since = self.now - timedelta(days=2)
        return (SharedView(key("bao"), "bao-reconstruction", "JupyterLab", "jupyter", "Ravi Nair", since),)

    # ---- activity, notices, insight ----

    async def activity_page(
        self,
        actor: Actor,
        *,
        environment_id: UUID | None = None,
        kind: str = "",
        search: str = "",
        offset: int = 0,
        limit: int = 25,
    ) -> ActivityPage:
        rows = [
            a for a in self.account(actor).activity if kind in ("", a.kind) and search.lower() in a.environment_name
        ]
        rows = [a for a in rows if environment_id in (None, a.environment_id)]
        return ActivityPage(tuple(rows[offset : offset + limit]), len(rows), offset)

    async def kinds(self, actor: Actor) -> tuple[str, ...]:
        return tuple(sorted({a.kind for a in self.account(actor).activity}))

    async def recent(self, actor: Actor) -> tuple[NoticeView, ...]:
        return tuple(self.account(actor).notices)

    async def mark_read(self, actor: Actor) -> None:
        account = self.account(actor)
        account.notices = [replace(n, unread=False) for n in account.notices]

    async def logs(
        self, actor: Actor, environment_id: UUID, *, offset: int, follow: bool, previous: bool = False
    ) -> AsyncIterator[LogLine]:
        view = await self.get(actor, environment_id)
        follow = follow and not previous
        if previous:
            lines = [
                "planner    step 3 of 7: dipole and quadrupole removed",
                "engineer   wrote results/s12_mask.png",
                "planner    stopping, as asked",
            ]
        elif view.phase is Phase.FAILED and view.reason:
            lines = view.reason.log_tail.splitlines()
        else:
            lines = [
                "planner    step 4 of 7: low-ℓ power in masked quadrants",
                "engineer   reading planck/pr4/smica_2048_full.fits (0.6 GiB)",
                "debug      anafast nside=2048 lmax=1536, 12.4 s",
                "engineer   S₁/₂ = 1 209 μK⁴   ΛCDM mean 35 400   p = 0.4 %",
                "warning    rate limit reached, trying again in 8 s (1 of 5)",
                "literature 11 papers found, 4 new",
                "engineer   bootstrap over 10 000 skies: 38 % done",
                "engineer   wrote results/s12_hist.png",
            ]
        begin = self.now - timedelta(seconds=90)
        for number, line in enumerate(lines):
            yield LogLine(begin + timedelta(seconds=11 * number), line, 80 * (number + 1))
        while follow and view.phase in (Phase.RUNNING, Phase.PULLING):
            await asyncio.sleep(5)
            number += 1
            yield LogLine(datetime.now(UTC), f"engineer   bootstrap: {38 + number} % done", 80 * (number + 1))

    async def usage(self, actor: Actor, environment_id: UUID) -> UsageView | None:
        now = datetime.now(UTC)
        t = (now - self.now).total_seconds()
        cpu = 1400 + 900 * ((t * 0.37) % 2 - 0.5)
        traffic = int(t * 26_000_000)
        return UsageView(now, max(60.0, cpu), int(6.2 * GIB + t * MIB), 31, traffic, traffic // 11)

    def shape(self, settings: Any) -> Any:
        """The same attributes as ``Parts``."""
        s = SimpleNamespace
        return s(
            settings=settings,
            bus=self.bus,
            people=PEOPLE,
            accounts=s(person=self.person, rename=self.rename_person, limits=self.limits),
            sessions=s(
                find=self.find,
                mine=self.mine,
                end=self.end,
                end_others=self.end_others,
                standing=self.standing,
                stay=self.stay,
            ),
            sign_ins=s(providers=tuple, identities=self.identities),
            runtime=s(runs_images=True),
            registries=s(mine=self.registries, enter=self.enter_account, remove=self.remove_account),
            api_tokens=s(mine=self.tokens, make=self.make_token, revoke=self.revoke_token),
            catalogue=s(applications=self.applications, categories=self.categories, application=self.application),
            environments=s(
                get=self.get,
                page=self.page,
                launch=self.launch,
                start=self.start,
                stop=self.stop,
                extend=self.extend,
                rename=self.rename,
                update=self.update,
                delete=self.delete,
            ),
            activity=s(page=self.activity_page, kinds=self.kinds),
            notices=s(recent=self.recent, mark_read=self.mark_read),
            insights=s(logs=self.logs, usage=self.usage),
            shares=s(share=self.share, withdraw=self.withdraw, of_environment=self.guests, with_me=self.shared),
        )
