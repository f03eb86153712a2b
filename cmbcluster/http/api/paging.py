"""Pages of lists: an opaque cursor says where the next one begins, in the body and in a Link header.

A cursor names the last row that was given, so that nothing is missed or given twice when rows
are added meanwhile. It opens nothing: whoever makes one up sees their own rows from there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

import orjson
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from cmbcluster.errors import InvalidInput
from cmbcluster.wiring import parts

PAGE_LIMIT = 100

Row = TypeVar("Row")
Limit = Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="Rows of one page.")]
Cursor = Annotated[
    str, Query(max_length=100, description="Where to go on: `next` of the page before. Leave it out at first.")
]


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``content`` as JSON. Written at once, since checking our own answers again costs more than making them."""
    text = orjson.dumps(content, _plain, orjson.OPT_UTC_Z)
    return Response(text, status, headers=headers, media_type="application/json")


def _plain(value: object) -> str:
    """What is written for a value that orjson does not know: PostgreSQL's driver has a class of its own for ids."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")


def row_before(cursor: str) -> UUID | None:
    """The row that a cursor names, or None for the first page; raises InvalidInput for a made-up one."""
    if not cursor:
        return None
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor.encode("ascii") + b"=="))
    except (ValueError, binascii.Error) as wrong:
        raise InvalidInput("cursor", "That cursor is none of ours.", "Use the one in `next`.") from wrong


def page(
    request: Request, rows: Sequence[Row], limit: int, id_of: Callable[[Row], UUID], shape: Callable[[Row], Any]
) -> Response:
    """One page of ``rows``, of which there is one more than ``limit`` when others follow."""
    shown, follows = rows[:limit], len(rows) > limit
    cursor = base64.urlsafe_b64encode(id_of(shown[-1]).bytes).decode().rstrip("=") if follows else None
    headers = {}
    if cursor is not None:
        address = request.url.include_query_params(cursor=cursor)
        headers["Link"] = f'<{parts().settings.public_url}{address.path}?{address.query}>; rel="next"'
    return answer({"items": [shape(row) for row in shown], "next": cursor}, headers=headers)
