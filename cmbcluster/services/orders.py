"""From what a person ordered to the row of a new environment: its size, its packages, its program."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from uuid import UUID

from cmbcluster.db.models import Application, Environment
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.interpreters import check_wanted_python
from cmbcluster.domain.lifecycle import Desired, Phase
from cmbcluster.domain.naming import slug_of
from cmbcluster.domain.orders import CustomOrder
from cmbcluster.domain.sources import (
    Program,
    PythonSource,
    check_as_of,
    check_command,
    check_health_path,
    check_port,
    check_requirements,
)
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


def made_of(application: Application, custom: CustomOrder | None, today: date) -> tuple[PythonSource, Program]:
    """What will run: the catalogue's entry, or what the person wrote in the form."""
    if application.source is not None and application.program is not None:
        return PythonSource.from_dict(application.source), Program.from_dict(application.program)
    if custom is None:
        raise InvalidInput(
            "requirements", "This application needs to know what to run.", "List its packages and start command."
        )
    source = PythonSource(
        requirements=check_requirements(custom.requirements),
        python=check_wanted_python(custom.python),
        as_of=check_as_of(custom.as_of, today),
    )
    program = Program(
        command=check_command(custom.command),
        port=check_port(custom.port),
        health_path=check_health_path(custom.health_path),
    )
    return source, program


def new_row(
    actor: Actor,
    owner_id: UUID,
    name: str,
    application_id: str,
    source: PythonSource,
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
        source=asdict(source),
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
