"""Answers that take a while: waiting for an environment, and following its output.

Both end when the token or the session ends. Waiting listens to the bus and must never ask the
database again without a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cmbcluster.bus.port import Ring
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import AT_REST, Phase
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.http.api import shapes
from cmbcluster.http.api.callers import Caller, find_caller, while_welcome
from cmbcluster.http.api.paging import answer
from cmbcluster.http.exports import OFFSET_LIMIT
from cmbcluster.http.standing import check_followed, counted, followed
from cmbcluster.wiring import parts

LONGEST_WAIT_SECONDS = 60
Until = Literal["running", "rest"]


async def wait(
    request: Request,
    caller: Caller,
    environment: str,
    until: Annotated[Until, Query(description="`running`: it runs. `rest`: it is stopped or failed.")] = "running",
    timeout_seconds: Annotated[float, Query(ge=0, le=LONGEST_WAIT_SECONDS)] = 30,
) -> Response:
    """Wait until it runs or rests, at most `timeout_seconds`. Ask again when `reached` is false and it still moves."""
    here = parts().environments
    environment_id = await here.resolve(caller, environment)
    ends = asyncio.get_running_loop().time() + timeout_seconds
    ended = f"token:{caller.token_id}" if caller.token_id else f"session:{caller.session_id}"
    check_followed(caller)
    with followed(caller):
        view = await _watched(request, caller, environment_id, until, ended, ends)
    reached = view.phase is Phase.RUNNING if until == "running" else view.phase in AT_REST
    return answer(shapes.Waited(reached, shapes.environment_detail(view)))


async def _watched(
    request: Request, caller: Actor, environment_id: UUID, until: Until, ended: str, ends: float
) -> EnvironmentView:
    """The environment as it is when waiting is over."""
    here = parts().environments
    # Heard before it is looked at, so that no change falls between the two.
    async with parts().bus.subscribe(f"user:{caller.user_id}", ended) as rings:
        while True:
            view = await here.get(caller, environment_id)
            if _settled(view, until) or not await _changed(rings, environment_id, ended, ends):
                break
            await find_caller(request)
    return view


def _settled(view: EnvironmentView, until: Until) -> bool:
    """Whether waiting longer is of no use: what rests does not begin to run by itself."""
    return view.phase in AT_REST or (until == "running" and view.phase is Phase.RUNNING)


async def _changed(rings: AsyncIterator[Ring], environment_id: UUID, ended: str, ends: float) -> bool:
    """Wait for a ring about the environment, the caller or anything at all; false when the time is up."""
    about = f"environment:{environment_id}"
    try:
        async with asyncio.timeout_at(ends):
            async for ring in rings:
                if ring.topic == ended or ring.about in (about, ""):
                    return True
    except TimeoutError:
        pass
    return False


async def logs(
    request: Request,
    caller: Caller,
    environment: str,
    follow: Annotated[bool, Query(description="Go on with new lines until it stops.")] = False,
    offset: Annotated[
        int,
        Query(ge=-OFFSET_LIMIT, le=OFFSET_LIMIT, description="Where to begin, in bytes; negative: before the end."),
    ] = 0,
    previous: Annotated[
        bool, Query(description="Of the run before the present one, as far as it is kept; nothing of it is followed.")
    ] = False,
) -> Response:
    """The output of its present run, or of the one before, one JSON object a line."""
    environment_id = await parts().environments.resolve(caller, environment)
    # Asked first, so that a stranger gets an answer and not the beginning of an empty stream.
    await parts().environments.get(caller, environment_id)
    lines = _ndjson(caller, environment_id, offset, follow, previous)
    check_followed(caller)
    if follow:
        lines = while_welcome(lines, request, caller)
    return StreamingResponse(
        counted(lines, caller), media_type="application/x-ndjson", headers={"X-Accel-Buffering": "no"}
    )


async def _ndjson(
    actor: Actor, environment_id: UUID, offset: int, follow: bool, previous: bool
) -> AsyncIterator[bytes]:
    source = parts().insights.logs(actor, environment_id, offset=offset, follow=follow, previous=previous)
    async with contextlib.aclosing(source) as lines:  # type: ignore[type-var]
        async for line in lines:
            yield to_json(shapes.Line(line.at, line.text, line.offset)) + b"\n"
