"""Writing activity and notices in the transaction of the change they tell of."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cmbcluster.db.database import Work
from cmbcluster.db.models import Activity, Environment, Notice
from cmbcluster.domain.actors import Actor, ActorKind


def note_activity(
    work: Work,
    actor: Actor,
    kind: str,
    at: datetime,
    *,
    owner_id: UUID,
    environment: Environment | None = None,
    detail: str = "",
    result: str = "ok",
) -> None:
    """Add one entry to the owner's log. The platform's own acts have no actor id."""
    by_person = actor.kind is ActorKind.PERSON
    if actor.token_name:
        detail = f"{detail}, with the token {actor.token_name}" if detail else f"With the token {actor.token_name}"
    work.activity.add(
        Activity(
            at=at,
            owner_id=owner_id,
            actor_id=actor.user_id if by_person else None,
            actor_name=actor.name if by_person else "",
            kind=kind,
            environment_id=environment.id if environment else None,
            environment_name=environment.name if environment else "",
            detail=detail[:500],
            result=result,
            address=actor.address[:64],
            operation_id=actor.operation_id[:64],
        )
    )


async def tell(work: Work, kind: str, at: datetime, *, environment: Environment, text: str, once: str) -> bool:
    """Tell the owner something once; says whether it was new."""
    return await work.notices.add_once(
        Notice(
            user_id=environment.owner_id,
            at=at,
            kind=kind,
            environment_id=environment.id,
            environment_name=environment.name,
            text=text[:500],
            once=once,
        )
    )
