"""What services return: frozen values with real types, free of tables and secrets.

Pages turn these into words; nothing here knows how it is shown. Times are aware UTC
datetimes, sizes are bytes, durations seconds, CPU thousandths of a core.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from cmbcluster.domain.actors import Role, Scope, Tier
from cmbcluster.domain.contents import Source
from cmbcluster.domain.images import ImageSource, PinnedImage
from cmbcluster.domain.lifecycle import Desired, Phase, Stage, StopReason
from cmbcluster.domain.sources import Program, PythonSource
from cmbcluster.domain.tiers import Limits, Size


@dataclass(frozen=True)
class PersonView:
    """A user as they may see themselves."""

    id: UUID
    name: str
    email: str
    role: Role
    tier: Tier
    created_at: datetime


@dataclass(frozen=True)
class IdentityView:
    """One account elsewhere that signs the person in."""

    provider: str
    name: str
    email: str
    since: datetime


@dataclass(frozen=True)
class SessionView:
    """One of a person's sessions."""

    id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    browser: str
    address: str
    current: bool


@dataclass(frozen=True)
class TokenView:
    """One of a person's tokens. The token itself is shown once, when it is made, and is not here.

    ``expires_at`` None: it works until it is revoked.
    """

    id: UUID
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    expired: bool


@dataclass(frozen=True)
class RegistryAccountView:
    """One of a person's accounts at a registry. Its secret is never shown again."""

    id: UUID
    registry: str
    username: str
    since: datetime


@dataclass(frozen=True)
class StandingView:
    """When a session ends by itself: ``ends_at`` unless the person does something, ``latest_at`` in any case."""

    ends_at: datetime
    latest_at: datetime
    now: datetime


@dataclass(frozen=True)
class ApplicationView:
    """An entry of the catalogue.

    ``usual_start_seconds`` is the median of the last launches that reached *running*, or
    None when there were none.
    """

    id: str
    name: str
    category: str
    summary: str
    icon: str
    source: PythonSource | None
    image: ImageSource | None  # what runs where the runtime runs images
    program: Program | None  # None: the person brings their own (a form asks)
    size: str  # id of the size proposed
    needs_keys: tuple[str, ...]
    usual_start_seconds: float | None
    takes_image: bool = False  # the form may name an image
    unavailable: str = ""  # why it cannot be launched here, in a sentence


@dataclass(frozen=True)
class StageView:
    """One stage of a launch. ``ended_at`` None and ``started_at`` set: it is under way."""

    stage: Stage
    started_at: datetime | None
    ended_at: datetime | None
    done: int  # bytes or packages, as ``unit`` says
    total: int | None
    unit: str  # "bytes", "packages" or ""
    detail: str
    failed: bool
    usual_seconds: float | None


@dataclass(frozen=True)
class ProtectionView:
    """How an environment is separated from everything else, and what is missing.

    ``level``: ``own-network``, ``sandbox`` or ``none``, or ``pod`` in a cluster. ``limits_by`` says what holds the
    limits (``systemd``, ``cgroup``, ``measured``, or ``pod``). ``mend`` is a command, or empty.
    """

    level: str
    limits_by: str
    missing: str
    mend: str


@dataclass(frozen=True)
class ReasonView:
    """Why it stopped or failed: two sentences and the last lines of the log."""

    code: StopReason
    what: str
    then: str
    log_tail: str


class EnvironmentSummary(NamedTuple):
    """One environment as a list of scripts shows it; the fields of an ``EnvironmentView`` with the same names.

    A tuple of this size is made in half the time of a frozen dataclass, which shows in a list of fifty.
    """

    id: UUID
    name: str
    slug: str
    address: str
    application_id: str
    desired: Desired
    phase: Phase
    phase_since: datetime
    cpu_millis: int
    memory_bytes: int
    uptime_seconds: int
    created_at: datetime
    running_since: datetime | None
    deadline_at: datetime | None
    can_extend: bool
    reason: ReasonView | None
    workspace_bytes: int | None


@dataclass(frozen=True)
class EnvironmentView:
    """One environment as its owner sees it."""

    id: UUID
    name: str
    slug: str
    address: str  # absolute URL of the environment's own host
    application_id: str
    application_name: str
    icon: str
    desired: Desired
    phase: Phase
    phase_since: datetime
    generation: int
    cpu_millis: int
    memory_bytes: int
    uptime_seconds: int
    created_at: datetime
    asked_at: datetime  # when the present generation was asked for
    running_since: datetime | None
    deadline_at: datetime | None
    last_seen_at: datetime | None
    can_extend: bool
    extends_to: datetime | None
    reason: ReasonView | None
    source: Source
    image: PinnedImage | None
    program: Program
    lock_digest: str
    lock_packages: int
    protection: ProtectionView | None
    stages: tuple[StageView, ...]
    workspace_bytes: int | None
    workspace_measured_at: datetime | None
    has_previous_run: bool = False


@dataclass(frozen=True)
class GuestView:
    """Somebody an environment is shared with, as its owner sees them."""

    id: UUID
    name: str
    since: datetime


@dataclass(frozen=True)
class SharedView:
    """An environment of somebody else, as a guest who may open it sees it."""

    id: UUID
    name: str
    application_name: str
    icon: str
    owner_name: str
    since: datetime


@dataclass(frozen=True)
class EnvironmentPage:
    """A page of a list with the total, so that nothing ever loads "all"."""

    rows: tuple[EnvironmentView, ...]
    total: int
    offset: int


@dataclass(frozen=True)
class ActivityView:
    """One line of the activity log. ``actor_name`` is empty when it was the reader."""

    id: UUID
    at: datetime
    kind: str
    actor_name: str
    environment_id: UUID | None
    environment_name: str
    detail: str
    result: str  # "ok", "failed" or "refused"
    address: str
    operation_id: str


@dataclass(frozen=True)
class ActivityPage:
    """A page of activity."""

    rows: tuple[ActivityView, ...]
    total: int
    offset: int


@dataclass(frozen=True)
class LimitsView:
    """A person's limits and how much of them is used."""

    tier: Tier
    limits: Limits
    running: int
    kept: int
    sizes: tuple[Size, ...]
    uptimes_seconds: tuple[int, ...]


@dataclass(frozen=True)
class UsageView:
    """What an environment uses now; None where it could not be measured."""

    measured_at: datetime
    cpu_millis: float | None
    memory_bytes: int | None
    processes: int | None
    received_bytes: int | None
    sent_bytes: int | None


@dataclass(frozen=True)
class NoticeView:
    """Something the person should be told: a warning before the deadline, a failure."""

    id: UUID
    at: datetime
    kind: str
    environment_id: UUID | None
    environment_name: str
    text: str
    unread: bool
