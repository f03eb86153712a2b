"""From what a person ordered to the row of a new environment."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from cmbcluster.db.models import Environment
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.contents import Source, source_dict
from cmbcluster.domain.lifecycle import Desired, Phase
from cmbcluster.domain.naming import slug_of
from cmbcluster.domain.sources import Program
from cmbcluster.domain.tiers import SIZES, Limits, Size, check_size
from cmbcluster.errors import InvalidInput
from cmbcluster.services.tokens import new_suffix


def size_of(size_id: str) -> Size:
    """The size of this id; raises InvalidInput."""
    for size in SIZES:
        if size.id == size_id:
            return size
    raise InvalidInput("size", "There is no such size.", "Choose one of those offered.")


def fitting_size(limits: Limits, size_id: str) -> Size:
    """The size of this id, if the limits allow it."""
    size = size_of(size_id)
    check_size(limits, size.cpu_millis, size.memory_bytes)
    return size


def new_row(
    actor: Actor,
    owner_id: UUID,
    name: str,
    application_id: str,
    source: Source,
    program: Program,
    size: Size,
    limits: Limits,
    now: datetime,
) -> Environment:
    """A new environment, wanted running."""
    return Environment(
        owner_id=owner_id,
        name=name,
        slug=slug_of(name, new_suffix()),
        application_id=application_id,
        source=source_dict(source),
        program=asdict(program),
        cpu_millis=size.cpu_millis,
        memory_bytes=size.memory_bytes,
        processes=limits.processes,
        workspace_bytes=limits.workspace_bytes,
        uptime_seconds=limits.longest_uptime_seconds,
        created_at=now,
        desired=Desired.RUNNING.value,
        asked_at=now,
        operation_id=actor.operation_id[:64],
        phase=Phase.QUEUED.value,
        phase_since=now,
    )
