"""Bodies of requests: small, and read before anything believes what they say about their length."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

_WITHOUT = frozenset({"GET", "HEAD", "OPTIONS"})


async def with_small_body(request: Request, most_bytes: int) -> Request:
    """The request with its body read; raises 413 as soon as there is more of it than ``most_bytes``."""
    if request.method in _WITHOUT:
        return request
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise HTTPException(413)
        parts.append(part)
    left: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await request.receive()

    return Request(request.scope, again)
