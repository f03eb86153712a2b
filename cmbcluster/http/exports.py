"""What a person takes out: the output of an environment, their activity. Streamed, never held whole."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.views import ActivityView
from cmbcluster.errors import InvalidInput
from cmbcluster.http.actors import actor_of
from cmbcluster.http.session_cookie import session_token_of
from cmbcluster.http.standing import check_followed, counted, while_signed_in
from cmbcluster.http.texts import attachment, cell
from cmbcluster.wiring import parts

_CSV_HEAD = ("time_utc", "kind", "by", "environment", "detail", "result", "address", "operation_id")
_CSV_BATCH_ROWS = 200
# Offsets beyond any log, so that a number of any size is read as one.
OFFSET_LIMIT = 2**53
# A downloaded text must never be run as a page of ours.
_DOWNLOAD = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


def _offset(request: Request) -> int:
    text = request.query_params.get("offset", "0")
    try:
        if len(text) > 20:
            raise ValueError(text[:20])
        offset = int(text)
        if abs(offset) > OFFSET_LIMIT:
            raise ValueError(text)
    except ValueError as wrong:
        raise InvalidInput("offset", "The offset is not a number of bytes.", "Use a whole number.") from wrong
    return offset


def _truth(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("1", "true", "yes")


async def environment_log(request: Request) -> Response:
    """Lines of output as NDJSON: ``at``, ``text`` and the ``offset`` where the next read continues.

    With ``previous``, those of the run before the present one.
    """
    actor = await actor_of(request)
    environment_id: UUID = request.path_params["environment_id"]
    # Asked first, so that a stranger gets an answer and not the beginning of an empty stream.
    await parts().environments.get(actor, environment_id)
    previous = _truth(request, "previous")
    lines = _ndjson(actor, environment_id, _offset(request), _truth(request, "follow"), previous)
    check_followed(actor)
    if _truth(request, "follow"):
        lines = while_signed_in(lines, actor, session_token_of(request))
    return StreamingResponse(
        counted(lines, actor), media_type="application/x-ndjson", headers={"X-Accel-Buffering": "no"}
    )


async def _ndjson(actor: Actor, environment_id: UUID, offset: int, follow: bool, previous: bool) -> AsyncIterator[str]:
    source = parts().insights.logs(actor, environment_id, offset=offset, follow=follow, previous=previous)
    async with contextlib.aclosing(source) as lines:  # type: ignore[type-var]
        async for line in lines:
            at = line.at.isoformat() if line.at else None
            yield json.dumps({"at": at, "text": line.text, "offset": line.offset}, ensure_ascii=False) + "\n"


async def environment_log_download(request: Request) -> Response:
    """The whole output that is kept, as a text file."""
    actor = await actor_of(request)
    environment_id: UUID = request.path_params["environment_id"]
    environment = await parts().environments.get(actor, environment_id)
    previous = _truth(request, "previous")
    which = f"{environment.name} before" if previous else environment.name
    name = f"{which} {datetime.now(UTC):%Y-%m-%d}.log"
    headers = {**_DOWNLOAD, "Content-Disposition": attachment(name)}
    check_followed(actor)
    lines = counted(_text(actor, environment_id, previous), actor)
    return StreamingResponse(lines, media_type="text/plain; charset=utf-8", headers=headers)


async def _text(actor: Actor, environment_id: UUID, previous: bool) -> AsyncIterator[str]:
    source = parts().insights.logs(actor, environment_id, offset=0, follow=False, previous=previous)
    async with contextlib.aclosing(source) as lines:  # type: ignore[type-var]
        async for line in lines:
            yield line.text + "\n"


async def activity_csv(request: Request) -> Response:
    """The person's whole activity as a table."""
    actor = await actor_of(request)
    name = f"cmbcluster activity {datetime.now(UTC):%Y-%m-%d}.csv"
    headers = {**_DOWNLOAD, "Content-Disposition": attachment(name)}
    return StreamingResponse(_csv(actor), media_type="text/csv; charset=utf-8", headers=headers)


async def _csv(actor: Actor) -> AsyncIterator[str]:
    text = io.StringIO()
    # Quoted throughout: a spreadsheet that parts cells at semicolons would find formulas inside.
    table = csv.writer(text, quoting=csv.QUOTE_ALL)
    table.writerow(_CSV_HEAD)
    rows = 0
    async for entry in parts().activity.export(actor):
        table.writerow([cell(value) for value in _cells(entry)])
        rows += 1
        if rows % _CSV_BATCH_ROWS == 0:
            yield _taken(text)
    yield _taken(text)


def _cells(entry: ActivityView) -> tuple[str, ...]:
    return (
        entry.at.astimezone(UTC).isoformat(timespec="seconds"),
        entry.kind,
        entry.actor_name or "you",
        entry.environment_name,
        entry.detail,
        entry.result,
        entry.address,
        entry.operation_id,
    )


def _taken(text: io.StringIO) -> str:
    written = text.getvalue()
    text.seek(0)
    text.truncate()
    return written
