"""An environment's life as data: phases, and which may follow which.

Users change what they *want* (``Desired``); only the controller writes what *is*
(``Phase``). This module must never decide by itself that something happened.
"""

from __future__ import annotations

from enum import StrEnum


class Desired(StrEnum):
    """What the owner wants."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class Phase(StrEnum):
    """What is, as last seen by the controller."""

    QUEUED = "queued"
    SCHEDULING = "scheduling"
    PULLING = "pulling"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"
    GONE = "gone"
    UNKNOWN = "unknown"


class Stage(StrEnum):
    """A measured part of a launch, in the order in which they happen.

    QUEUED and the three building stages are the control plane's; PORT is the wait for the
    application's own health path.
    """

    QUEUED = "queued"
    SCHEDULING = "scheduling"
    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    STARTING = "starting"
    PORT = "port"


class StopReason(StrEnum):
    """Why an environment is stopped or failed; the words for it are made by the services."""

    ASKED = "asked"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    PLATFORM_STOPPED = "platform_stopped"
    EXITED = "exited"
    MEMORY = "memory"
    PROCESSES = "processes"
    NEVER_READY = "never_ready"
    RESOLVE_FAILED = "resolve_failed"
    BUILD_FAILED = "build_failed"
    PYTHON_MISSING = "python_missing"
    DISK_FULL = "disk_full"
    START_FAILED = "start_failed"
    LOST = "lost"
    IMAGE_UNAVAILABLE = "image_unavailable"
    IMAGE_REFUSED = "image_refused"
    IMAGE_PLATFORM = "image_platform"
    NO_ROOM = "no_room"
    QUOTA = "quota"
    REFUSED = "refused"
    VOLUME = "volume"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    TAKEN_AWAY = "taken_away"


LAUNCHING = frozenset({Phase.QUEUED, Phase.SCHEDULING, Phase.PULLING, Phase.STARTING})
# A cluster took the run away, which was none of its doing: beginning again can help, and does no harm.
TAKEN_BY_CLUSTER = frozenset({StopReason.EVICTED, StopReason.PREEMPTED, StopReason.NODE_LOST})
# What counts against "running at once": everything that holds or will hold a process.
OCCUPYING = LAUNCHING | {Phase.RUNNING, Phase.STOPPING, Phase.UNKNOWN}
AT_REST = frozenset({Phase.STOPPED, Phase.FAILED})

TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset(
        {Phase.SCHEDULING, Phase.PULLING, Phase.STARTING, Phase.STOPPING, Phase.STOPPED, Phase.FAILED, Phase.DELETING}
    ),
    Phase.SCHEDULING: frozenset(
        {
            Phase.QUEUED,
            Phase.PULLING,
            Phase.STARTING,
            Phase.STOPPING,
            Phase.STOPPED,
            Phase.FAILED,
            Phase.DELETING,
            Phase.UNKNOWN,
        }
    ),
    Phase.PULLING: frozenset(
        {
            Phase.QUEUED,
            Phase.STARTING,
            Phase.RUNNING,
            Phase.STOPPING,
            Phase.STOPPED,
            Phase.FAILED,
            Phase.DELETING,
            Phase.UNKNOWN,
        }
    ),
    Phase.STARTING: frozenset(
        {
            Phase.QUEUED,
            Phase.RUNNING,
            Phase.PULLING,
            Phase.STOPPING,
            Phase.STOPPED,
            Phase.FAILED,
            Phase.DELETING,
            Phase.UNKNOWN,
        }
    ),
    Phase.RUNNING: frozenset(
        {Phase.QUEUED, Phase.STOPPING, Phase.STOPPED, Phase.FAILED, Phase.DELETING, Phase.UNKNOWN}
    ),
    Phase.UNKNOWN: frozenset(
        {
            Phase.QUEUED,
            Phase.PULLING,
            Phase.STARTING,
            Phase.RUNNING,
            Phase.STOPPING,
            Phase.STOPPED,
            Phase.FAILED,
            Phase.DELETING,
        }
    ),
    Phase.STOPPING: frozenset({Phase.STOPPED, Phase.FAILED, Phase.QUEUED, Phase.DELETING, Phase.UNKNOWN}),
    Phase.STOPPED: frozenset({Phase.QUEUED, Phase.DELETING}),
    Phase.FAILED: frozenset({Phase.QUEUED, Phase.STOPPED, Phase.DELETING}),
    Phase.DELETING: frozenset({Phase.GONE}),
    Phase.GONE: frozenset(),
}


def may_follow(current: Phase, following: Phase) -> bool:
    """Whether the controller may write ``following`` over ``current``."""
    return following in TRANSITIONS[current]
