"""Every refusal of a service as one line of the log: who was refused what, and why.

Refusals change nothing, so they have no transaction to be written in, and telling the owner
that somebody tried would tell a stranger's reach to both. They are for whoever runs the
platform: ``kind`` is ``denied`` in all of them. What was said to the person stays the same.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from uuid import UUID

import structlog

from cmbcluster.domain.actors import ANONYMOUS, Actor
from cmbcluster.errors import Forbidden, NotFound, NotSignedIn, UserError

logger = structlog.get_logger(__name__)
Service = TypeVar("Service")
DENIALS = (NotFound, Forbidden, NotSignedIn)
_TOLD = "_cmb_told"


def records_denials(service: type[Service]) -> type[Service]:
    """Let every public function of a service say in the log what it refuses."""
    for name, function in list(vars(service).items()):
        if name.startswith("_"):
            continue
        if inspect.iscoroutinefunction(function):
            setattr(service, name, _told(f"{service.__name__}.{name}", function))
        elif inspect.isasyncgenfunction(function):
            setattr(service, name, _told_each(f"{service.__name__}.{name}", function))
    return service


def _told(act: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def telling(*args: Any, **more: Any) -> Any:
        try:
            return await function(*args, **more)
        except DENIALS as refusal:
            _tell(act, refusal, args)
            raise

    return telling


def _told_each(act: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def telling(*args: Any, **more: Any) -> AsyncIterator[Any]:
        try:
            async for item in function(*args, **more):
                yield item
        except DENIALS as refusal:
            _tell(act, refusal, args)
            raise

    return telling


def _tell(act: str, refusal: UserError, args: tuple[Any, ...]) -> None:
    if hasattr(refusal, _TOLD):
        return  # One service asked another, which has said it already.
    setattr(refusal, _TOLD, True)
    actor = next((each for each in args[1:] if isinstance(each, Actor)), ANONYMOUS)
    target = next((str(each) for each in args[1:] if isinstance(each, UUID)), "")
    # Somebody whose session has ended is refused all the time, by pages that are still open.
    tell = logger.info if isinstance(refusal, NotSignedIn) else logger.warning
    tell(
        "refused",
        kind="denied",
        act=act,
        why=type(refusal).__name__,
        target=target,
        by=str(actor.user_id or ""),
        token_id=str(actor.token_id or ""),
        address=actor.address,
        operation_id=actor.operation_id,
    )
