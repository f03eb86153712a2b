"""The contract between the controller and whatever runs environments.

Kept by every adapter and by the fake, and proved by the same contract tests. An adapter
must never decide what *should* run; it does what it is told and says what it sees. What it
cannot see it calls unknown, never stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable
from uuid import UUID

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import Stage, StopReason
from cmbcluster.domain.sources import Lock, Program, PythonSource
from cmbcluster.domain.views import ProtectionView, UsageView


@dataclass(frozen=True)
class Ref:
    """One run of one environment: names of everything a runtime makes derive from it."""

    environment_id: UUID
    slug: str
    generation: int


@dataclass(frozen=True)
class Packages:
    """Python packages as they were locked; the runtime puts them on a base of its own."""

    source: PythonSource
    lock: Lock


@dataclass(frozen=True)
class Toleration:
    """A taint of a node that the environment accepts. An empty ``value`` accepts every value of ``key``."""

    key: str
    value: str = ""
    effect: str = ""


@dataclass(frozen=True)
class Placement:
    """Where a cluster may put an environment, and with what. A single machine has no use for it.

    ``storage_class`` and ``ephemeral_bytes`` empty: what the platform's settings say. ``root_is_writable``
    is for images whose programs write beside their own files. Without ``internet`` it reaches what the
    cluster's network rules leave to such environments.
    """

    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    priority_class: str = ""
    storage_class: str = ""
    ephemeral_bytes: int = 0
    root_is_writable: bool = False
    internet: bool = True


@dataclass(frozen=True)
class Spec:
    """All a runtime needs to start an environment.

    ``pull_config`` is the text of a ``.dockerconfigjson`` for the image's registry; empty where
    nobody has to sign in there.
    """

    ref: Ref
    content: Packages | PinnedImage
    program: Program
    cpu_millis: int
    memory_bytes: int
    processes: int
    workspace_bytes: int
    operation_id: str = ""
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    pull_config: str = field(default="", repr=False)
    placement: Placement = Placement()


class Sight(StrEnum):
    """What a runtime sees of one run."""

    ABSENT = "absent"  # positively not there
    BUILDING = "building"
    STARTING = "starting"  # a process exists, its health path does not answer yet
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"  # it ended or could not be started; ``ending`` says how
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Endpoint:
    """Where the edge dials: an address on this machine or in the cluster."""

    host: str
    port: int


@dataclass(frozen=True)
class StageMark:
    """Progress of one stage as the runtime measured it."""

    stage: Stage
    started_at: datetime
    ended_at: datetime | None = None
    done: int = 0
    total: int | None = None
    unit: str = ""
    detail: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Ending:
    """How a run ended. ``what`` and ``then`` are sentences for the owner, ``rule`` who says so, for the log."""

    reason: StopReason
    what: str
    then: str
    log_tail: str = ""
    exit_code: int | None = None
    ended_at: datetime | None = None
    rule: str = field(default="", compare=False)


@dataclass(frozen=True)
class Observation:
    """What is seen of one run at one moment."""

    ref: Ref
    sight: Sight
    seen_at: datetime
    endpoint: Endpoint | None = None
    stages: tuple[StageMark, ...] = ()
    protection: ProtectionView | None = None
    ending: Ending | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of output. ``offset`` is where the next read continues, in bytes."""

    at: datetime | None
    text: str
    offset: int


@dataclass(frozen=True)
class Workspace:
    """A workspace that exists, whatever runs or ran in it. ``made_at`` is where the runtime knows it.

    ``is_copy``: somebody made it from a backup; no launch makes one like that.
    """

    environment_id: UUID
    slug: str
    made_at: datetime | None = field(default=None, compare=False)
    is_copy: bool = field(default=False, compare=False)


class Runtime(Protocol):
    """Starts, stops and watches runs. All methods are idempotent.

    Raises RuntimeUnavailable when nothing can be said or done at the moment.
    """

    @property
    def runs_images(self) -> bool:
        """Whether it can run container images; asked before anybody is offered to launch one."""

    async def start(self, spec: Spec) -> None:
        """Ask for a run and return at once; a run that exists already is left as it is.

        Building, starting and readiness go on by themselves and are told by ``observe``.
        Two generations of one environment never run together: an older one must be
        stopped before, else Conflict is raised.
        """

    async def stop(self, ref: Ref) -> None:
        """Ask for the end of a run (also of its build) and return at once.

        A grace of seconds precedes force. Absent runs are no error.
        """

    async def remove(self, ref: Ref, *, workspace: bool) -> None:
        """Delete everything of an environment; its workspace only when told so.

        The environment must not run any more, else Conflict is raised.
        """

    async def look(self, ref: Ref) -> Observation:
        """What is there now, asked live. The only basis for a decision."""

    def heard_running(self, ref: Ref) -> datetime | None:
        """When a run was last said to be up by what the runtime follows; None when that is not known without asking.

        A hint: it saves looks at what nothing has to be decided about.
        """

    def observe(self) -> AsyncIterator[Observation]:
        """All runs that exist, then every change for ever. A hint, never a decision."""


@runtime_checkable
class Leftovers(Protocol):
    """What a runtime holds where others can put things too, so that something may be nobody's.

    Raises RuntimeUnavailable when nothing can be said or done at the moment.
    """

    async def workspaces(self) -> tuple[Workspace, ...]:
        """Every workspace of this platform, asked live."""

    async def clear_unused(self) -> None:
        """Delete what environments shared, nothing has needed for long, and a launch makes again when it needs it."""

    async def clear_secrets(self, workspace: Workspace) -> None:
        """Delete what runs were told in confidence. Only for an environment that nobody knows and that has no run."""

    async def clear_secret(self, ref: Ref) -> None:
        """Delete what one run was told in confidence. Only for a run that is over for good."""


class Insight(Protocol):
    """What people may look at in a run."""

    def logs(self, ref: Ref, *, offset: int, follow: bool) -> AsyncIterator[LogLine]:
        """Output from byte ``offset`` of what is kept (negative: that many last bytes).

        With ``follow`` it goes on until the run has ended.
        """

    async def usage(self, ref: Ref) -> UsageView | None:
        """What the run uses now, or None when it does not run."""

    async def workspace_bytes(self, ref: Ref) -> int | None:
        """Size of the workspace, or None when there is none (yet)."""
