"""Environments: launch, look, change, delete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from fastapi import Header, Query
from starlette.requests import Request
from starlette.responses import Response

from cmbcluster.domain.orders import CustomOrder, LaunchOrder
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.errors import InvalidInput
from cmbcluster.http.api import shapes
from cmbcluster.http.api.callers import Caller
from cmbcluster.http.api.paging import Cursor, Limit, answer, page, row_before
from cmbcluster.wiring import parts

PHASES = Literal["", "running", "launching", "stopped", "failed"]
# The fields of the pages' forms, by the names that scripts know them under.
_FIELDS = {"uptime": "uptime_seconds", "typed_name": "confirm"}
_CUSTOM_FIELDS = ("image", "requirements", "python", "as_of", "command", "port", "health_path")
_NAMES = _FIELDS | {name: f"custom.{name}" for name in _CUSTOM_FIELDS}


@contextmanager
def _named_for_scripts() -> Iterator[None]:
    """The same sentences as on screen, about the field as it is called here."""
    try:
        yield
    except InvalidInput as wrong:
        raise InvalidInput(_NAMES.get(wrong.field, wrong.field), wrong.what, wrong.then) from wrong


async def environments(
    request: Request,
    caller: Caller,
    search: Annotated[str, Query(max_length=100, description="Part of a name or of an application's id.")] = "",
    phase: Annotated[PHASES, Query(description="Only those in this phase.")] = "",
    cursor: Cursor = "",
    limit: Limit = 25,
) -> Response:
    """The person's environments, the newest first."""
    rows = await parts().environments.newest(
        caller, before=row_before(cursor), search=search, phase=phase, limit=limit + 1
    )
    return page(request, rows, limit, lambda row: row.id, shapes.environment)


async def launch(
    caller: Caller,
    body: shapes.Launch,
    idempotency_key: Annotated[
        str, Header(max_length=200, description="The same key with the same body within a day is the same launch.")
    ] = "",
) -> Response:
    """Launch an application. The answer comes at once; wait for it to run at `/wait`."""
    with _named_for_scripts():
        view = await parts().environments.launch(caller, _order(body), key=idempotency_key)
    return answer(shapes.environment_detail(view), 201, {"Location": f"/api/v1/environments/{view.id}"})


def _order(body: shapes.Launch) -> LaunchOrder:
    custom = body.custom
    return LaunchOrder(
        application_id=body.application,
        name=body.name,
        size=body.size,
        uptime_seconds=body.uptime_seconds,
        custom=None
        if custom is None
        else CustomOrder(
            requirements=custom.requirements,
            python=custom.python,
            as_of=custom.as_of,
            command=custom.command,
            port=str(custom.port),
            health_path=custom.health_path,
            image=custom.image,
        ),
    )


async def environment(caller: Caller, environment: str) -> Response:
    """One environment, by its id, its name, or the first word of its address."""
    here = parts().environments
    return _detail(await here.get(caller, await here.resolve(caller, environment)))


async def stop(caller: Caller, environment: str) -> Response:
    """Stop it, or cancel its launch. The workspace is kept. Asking twice changes nothing."""
    here = parts().environments
    return _detail(await here.stop(caller, await here.resolve(caller, environment)))


async def start(caller: Caller, environment: str, body: shapes.Start | None = None) -> Response:
    """Start it again: the same packages and workspace."""
    here = parts().environments
    with _named_for_scripts():
        view = await here.start(caller, await here.resolve(caller, environment), size=body.size if body else "")
    return _detail(view)


async def extend(caller: Caller, environment: str) -> Response:
    """Give it as much more time as the tier allows."""
    here = parts().environments
    return _detail(await here.extend(caller, await here.resolve(caller, environment)))


async def change(caller: Caller, environment: str, body: shapes.Change) -> Response:
    """Rename it. Its address stays."""
    here = parts().environments
    with _named_for_scripts():
        view = await here.rename(caller, await here.resolve(caller, environment), body.name)
    return _detail(view)


async def delete(
    caller: Caller,
    environment: str,
    workspace: Annotated[Literal["keep", "remove"], Query(description="What becomes of its files.")] = "keep",
    confirm: Annotated[str, Query(max_length=100, description="Its name; needed to remove the workspace too.")] = "",
) -> Response:
    """Delete it. The workspace is kept unless it is to be removed and the name confirms it."""
    here = parts().environments
    with _named_for_scripts():
        await here.delete(
            caller,
            await here.resolve(caller, environment),
            typed_name=confirm,
            remove_workspace=workspace == "remove",
        )
    return Response(status_code=204)


def _detail(view: EnvironmentView) -> Response:
    return answer(shapes.environment_detail(view))
