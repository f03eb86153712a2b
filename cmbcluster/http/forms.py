"""Small forms of our own pages that come as JSON, because what is in them must stay out of a page's state."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from cmbcluster.errors import InvalidInput

BODY_BYTES = 16384


async def json_form(request: Request) -> dict[str, Any]:
    """The fields of a small form that came as JSON; raises InvalidInput."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES:
            raise InvalidInput("form", "The form is too long.", "Reload the page and try again.")
    try:
        asked = json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        raise InvalidInput("form", "The form cannot be read.", "Reload the page and try again.") from wrong
    return asked if isinstance(asked, dict) else {}
