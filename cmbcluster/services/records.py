"""Writing activity and notices in the transaction of the change they tell of."""

from __future__ import annotations

from dataclasses import replace
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
    linked: bool = True,
) -> None:
    """Add one entry to the owner's log. The platform's own acts have no actor id.

    ``linked`` false: the environment is named, but the entry leads nowhere.
    """
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
            environment_id=environment.id if environment and linked else None,
            environment_name=environment.name if environment else "",
            detail=detail[:500],
            result=result,
            address=actor.address[:64],
            operation_id=actor.operation_id[:64],
        )
    )


def note_between(
    work: Work, actor: Actor, kind: str, at: datetime, *, guest_id: UUID, environment: Environment, detail: str = ""
) -> None:
    """Add an entry to the owner's log and one to a guest's, of what went on between them.

    ``detail`` is for the owner. The guest's entry names the environment without leading to its
    page, which is not theirs; and neither of them reads the other's network address or tokens.
    """
    for reader in (environment.owner_id, guest_id):
        mine = reader == environment.owner_id
        note_activity(
            work,
            actor if actor.user_id == reader else replace(actor, address="", token_name=""),
            kind,
            at,
            owner_id=reader,
            environment=environment,
            detail=detail if mine else "",
            linked=mine,
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
