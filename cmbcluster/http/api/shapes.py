"""What the API says and takes: names that stay, times with a zone, sizes in bytes, lengths in seconds.

Each shape is made from a view of the services. Must never hold what the view does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from cmbcluster.domain.actors import Actor, Role, Scope, Tier
from cmbcluster.domain.images import ImageSource
from cmbcluster.domain.interpreters import ANY_PYTHON
from cmbcluster.domain.lifecycle import Desired, Phase, Stage, StopReason
from cmbcluster.domain.sources import PythonSource
from cmbcluster.domain.views import (
    ActivityView,
    ApplicationView,
    EnvironmentSummary,
    EnvironmentView,
    LimitsView,
    PersonView,
    StageView,
)


@dataclass(frozen=True)
class SizeShape:
    """A size to choose."""

    id: str
    cpu_millis: int
    memory_bytes: int


@dataclass(frozen=True)
class Me:
    """The person, their limits, and what this request may do. `scopes` is null for a signed-in browser."""

    id: UUID
    name: str
    email: str
    role: Role
    tier: Tier
    scopes: list[Scope] | None
    token_name: str | None
    running: int
    running_limit: int
    kept: int
    kept_limit: int
    longest_uptime_seconds: int
    sizes: list[SizeShape]
    uptimes_seconds: list[int]


@dataclass(frozen=True)
class Application:
    """What can be launched. `custom` true: the launch says what to run; `takes_image`: a container image will do.

    `unavailable` says why it cannot be launched here; it is empty where it can.
    """

    id: str
    name: str
    category: str
    summary: str
    size: str
    custom: bool
    requirements: list[str]
    image: str
    takes_image: bool
    unavailable: str
    needs_keys: list[str]
    usual_start_seconds: float | None


@dataclass(frozen=True)
class Reason:
    """Why it stopped or failed: what happened, what to do next."""

    code: StopReason
    what: str
    then: str
    log_tail: str


@dataclass(frozen=True)
class StageShape:
    """One measured stage of the launch."""

    stage: Stage
    started_at: datetime | None
    ended_at: datetime | None
    done: int
    total: int | None
    unit: str
    detail: str
    failed: bool


@dataclass
class Environment:
    """An environment in a list. Not frozen, since that takes twice as long to make, fifty times in a list."""

    id: UUID
    name: str
    slug: str
    address: str
    application: str
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
    reason: Reason | None
    workspace_bytes: int | None


@dataclass
class EnvironmentDetail(Environment):
    """An environment with all that is known of it. One made of an image has no packages, and the other way round."""

    asked_at: datetime
    last_seen_at: datetime | None
    requirements: list[str]
    python: str
    as_of: str
    command: list[str]
    lock_digest: str
    lock_packages: int
    image: str
    image_digest: str
    image_bytes: int
    stages: list[StageShape]


@dataclass(frozen=True)
class Waited:
    """`reached` false: the time was up, or it came to rest where it was to run."""

    reached: bool
    environment: EnvironmentDetail


@dataclass(frozen=True)
class Line:
    """A line of output. `offset` is where the next read goes on."""

    at: datetime | None
    text: str
    offset: int


@dataclass(frozen=True)
class ActivityEntry:
    """What was done by or to the person. `actor_name` is empty when it was the person."""

    id: UUID
    at: datetime
    kind: str
    actor_name: str
    environment_id: UUID | None
    environment_name: str
    detail: str
    result: str
    address: str
    operation_id: str


@dataclass(frozen=True)
class Applications:
    """A page of applications."""

    items: list[Application]
    next: str | None


@dataclass(frozen=True)
class Environments:
    """A page of environments, the newest first."""

    items: list[Environment]
    next: str | None


@dataclass(frozen=True)
class Activity:
    """A page of activity, the newest first."""

    items: list[ActivityEntry]
    next: str | None


@dataclass(frozen=True)
class Problem:
    """An error: `title` says what happened, `detail` what to do next, `field` which value it is about."""

    type: str
    status: int
    title: str
    detail: str
    code: str
    operation_id: str
    field: Annotated[str, Field(description="Only with values that cannot be used.")] = ""


class Strict(BaseModel):
    """What a script sends. A misspelt field is said, never left out in silence."""

    model_config = ConfigDict(extra="forbid")


class Custom(Strict):
    """What to run when the application is your own: packages, or an image. The fields are those of the form."""

    image: str = Field("", description="A container image, such as ghcr.io/team/app:1.0, in place of packages.")
    requirements: str = Field("", description="Packages, one a line.")
    python: str = Field(ANY_PYTHON, description="A version of Python, such as 3.12, or a range.")
    as_of: str = Field("", description="A date; packages are taken as they were then. Empty: the newest.")
    command: str = Field(
        "",
        description="How it is started; {port} and {address} say where it must listen. An image has one of its own.",
    )
    port: int = Field(8501, description="The port it listens on inside.")
    health_path: str = Field("/", description="A path that answers when it is ready.")


class Launch(Strict):
    """A new environment."""

    application: str = Field(description="Id of an application.")
    name: str = Field(description="A name of its own, such as planck-lensing.")
    size: str | None = Field(
        None, description="Id of a size. Left out: the one the application proposes, or the largest you may."
    )
    uptime_seconds: int | None = Field(
        None, description="How long it runs. Left out: six hours, or what your tier allows."
    )
    custom: Custom | None = None


class Start(Strict):
    """Starting again."""

    size: str = Field("", description="Id of another size. Empty: as before.")


class Change(Strict):
    """What can be changed."""

    name: str = Field(description="The new name. The address stays.")


def me(actor: Actor, person: PersonView, limits: LimitsView) -> Me:
    """The person and what this request may do."""
    return Me(
        id=person.id,
        name=person.name,
        email=person.email,
        role=person.role,
        tier=person.tier,
        scopes=None if actor.scopes is None else [scope for scope in Scope if scope in actor.scopes],
        token_name=actor.token_name or None,
        running=limits.running,
        running_limit=limits.limits.running_at_once,
        kept=limits.kept,
        kept_limit=limits.limits.kept,
        longest_uptime_seconds=limits.limits.longest_uptime_seconds,
        sizes=[SizeShape(size.id, size.cpu_millis, size.memory_bytes) for size in limits.sizes],
        uptimes_seconds=list(limits.uptimes_seconds),
    )


def application(view: ApplicationView) -> Application:
    """An entry of the catalogue."""
    return Application(
        id=view.id,
        name=view.name,
        category=view.category,
        summary=view.summary,
        size=view.size,
        custom=view.program is None,
        requirements=list(view.source.requirements) if view.source else [],
        image=view.image.reference if view.image else "",
        takes_image=view.takes_image,
        unavailable=view.unavailable,
        needs_keys=list(view.needs_keys),
        usual_start_seconds=view.usual_start_seconds,
    )


def environment(view: EnvironmentSummary | EnvironmentView) -> Environment:
    """A row of a list."""
    reason = view.reason
    return Environment(
        id=view.id,
        name=view.name,
        slug=view.slug,
        address=view.address,
        application=view.application_id,
        desired=view.desired,
        phase=view.phase,
        phase_since=view.phase_since,
        cpu_millis=view.cpu_millis,
        memory_bytes=view.memory_bytes,
        uptime_seconds=view.uptime_seconds,
        created_at=view.created_at,
        running_since=view.running_since,
        deadline_at=view.deadline_at,
        can_extend=view.can_extend,
        reason=Reason(reason.code, reason.what, reason.then, reason.log_tail) if reason else None,
        workspace_bytes=view.workspace_bytes,
    )


def environment_detail(view: EnvironmentView) -> EnvironmentDetail:
    """Everything about one."""
    source, pinned = view.source, view.image
    packages = source if isinstance(source, PythonSource) else None
    return EnvironmentDetail(
        **vars(environment(view)),
        asked_at=view.asked_at,
        last_seen_at=view.last_seen_at,
        requirements=list(packages.requirements) if packages else [],
        python=packages.python if packages else "",
        as_of=packages.as_of if packages else "",
        command=list(view.program.command),
        lock_digest=view.lock_digest,
        lock_packages=view.lock_packages,
        image=source.reference if isinstance(source, ImageSource) else "",
        image_digest=pinned.digest if pinned else "",
        image_bytes=pinned.size_bytes if pinned else 0,
        stages=[_stage(stage) for stage in view.stages],
    )


def _stage(view: StageView) -> StageShape:
    return StageShape(
        view.stage, view.started_at, view.ended_at, view.done, view.total, view.unit, view.detail, view.failed
    )


def activity_entry(view: ActivityView) -> ActivityEntry:
    """A line of activity."""
    return ActivityEntry(
        id=view.id,
        at=view.at,
        kind=view.kind,
        actor_name=view.actor_name,
        environment_id=view.environment_id,
        environment_name=view.environment_name,
        detail=view.detail,
        result=view.result,
        address=view.address,
        operation_id=view.operation_id,
    )
