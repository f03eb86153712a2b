"""Who am I, what can be launched, what happened."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from cmbcluster.http.api import shapes
from cmbcluster.http.api.callers import Caller
from cmbcluster.http.api.paging import Cursor, Limit, answer, page, row_before
from cmbcluster.wiring import parts


async def me(caller: Caller) -> Response:
    """The person, their limits, and what this request may do."""
    accounts = parts().accounts
    return answer(shapes.me(caller, await accounts.person(caller), await accounts.limits(caller)))


async def applications(
    caller: Caller,
    search: Annotated[str, Query(max_length=100)] = "",
    category: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """What can be launched, in the catalogue's order. The list is short and comes in one page."""
    found = await parts().catalogue.applications(caller, search=search, category=category)
    return answer({"items": [shapes.application(view) for view in found], "next": None})


async def application(caller: Caller, application_id: str) -> Response:
    """One entry of the catalogue."""
    return answer(shapes.application(await parts().catalogue.application(caller, application_id)))


async def activity(
    request: Request,
    caller: Caller,
    kind: Annotated[str, Query(max_length=32, description="Only this kind, such as `launched`.")] = "",
    environment: Annotated[UUID | None, Query(description="Only this environment, by its id.")] = None,
    cursor: Cursor = "",
    limit: Limit = 25,
) -> Response:
    """What was done by or to the person, the newest first."""
    rows = await parts().activity.newest(
        caller, before=row_before(cursor), environment_id=environment, kind=kind, limit=limit + 1
    )
    return page(request, rows, limit, lambda row: row.id, shapes.activity_entry)
