"""Requests that nobody thinks of, made from our own OpenAPI document: no failure of ours, answers as described."""

from __future__ import annotations

import asyncio
import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cmbcluster.http.api.table import BASE, document
from cmbcluster.http.middleware import Shell
from cmbcluster.http.policy import content_security_policy
from cmbcluster.http.routes import build_routes
from cmbcluster.wiring import set_parts
from tests.conftest import BOTH
from tests.http.conftest import HOME
from tests.platform import open_platform
from tests.postgres import Databases

EXAMPLES = 6
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# What was deleted is gone for the other routes, and a wait waits, so both are bounded.
LONGEST_WAIT_SECONDS = 0.02


class Asking:
    """A platform, a token that may do everything, and the loop in which both live."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self._loop = asyncio.new_event_loop()
        self._opened = AsyncExitStack()
        self._headers: dict[str, str] = {}

    def open(self, databases: Databases | None) -> None:
        """Begin, over a PostgreSQL if there is one given."""
        self._loop.run_until_complete(self._open(databases))

    async def _open(self, databases: Databases | None) -> None:
        more: dict[str, object] = {}
        if databases is not None:
            more["database_url"] = url = await databases.make()
            self._opened.push_async_callback(databases.drop, url)
        self.platform = await self._opened.enter_async_context(open_platform(self.folder, **more))
        set_parts(self.platform.parts)
        app = Shell(build_routes(), HOME, content_security_policy(HOME, ()))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = await self._opened.enter_async_context(httpx.AsyncClient(transport=transport, base_url=HOME))
        self.ravi = await self.platform.sign_in("ravi")
        made = await self.platform.parts.api_tokens.make(self.ravi, "robot", ["read", "launch", "admin"], None)
        self._headers = {"Authorization": f"Bearer {made.secret}"}

    def send(self, case: Any) -> httpx.Response:
        """Send what was made up, to an environment that is there."""
        return self._loop.run_until_complete(self._send(case))

    async def _send(self, case: Any) -> httpx.Response:
        # So many at once are refused elsewhere; here each is to be answered.
        await self.platform.parts.rates._here.storage.reset()
        if not (await self.platform.parts.environments.page(self.ravi, search="planck")).total:
            await self.platform.running(self.ravi, "planck")
        if case.path.endswith("/wait") and "timeout_seconds" in (case.query or {}):
            case.query["timeout_seconds"] = LONGEST_WAIT_SECONDS
        elif case.path.endswith("/wait"):
            case.query = {**(case.query or {}), "timeout_seconds": LONGEST_WAIT_SECONDS}
        if case.path.endswith("/logs"):
            case.query = {name: value for name, value in (case.query or {}).items() if name != "follow"}
        sent = case.as_transport_kwargs(base_url=HOME + BASE)
        wanted = {name: sent[name] for name in ("method", "url", "params", "json", "data", "content") if name in sent}
        headers = {**{k: v for k, v in (sent.get("headers") or {}).items() if k != "Authorization"}, **self._headers}
        if isinstance(wanted.get("data"), bytes | str):
            wanted["content"] = wanted.pop("data")
        answer = await self._client.request(**wanted, headers=headers)
        await self.platform.settle()
        return answer

    def close(self) -> None:
        """End, and leave nothing."""
        self._loop.run_until_complete(self._opened.aclose())
        set_parts(None)
        self._loop.close()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module", params=BOTH)
def asking(request: pytest.FixtureRequest) -> Iterator[Asking]:
    """The platform that is asked, on each of the databases: what their drivers give us is not the same."""
    opened = Asking()
    opened.open(request.getfixturevalue("postgres") if request.param == "postgresql" else None)
    yield opened
    opened.close()


def described() -> dict[str, Any]:
    """Our document, with the names of things that are there: made-up ones would only be missing."""
    made = copy.deepcopy(document())
    for ways in made["paths"].values():
        for operation in ways.values():
            for given in operation.get("parameters", ()):
                if given["name"] == "environment" and given["in"] == "path":
                    given["schema"] = {"type": "string", "enum": ["planck", "nothing-here"]}
                elif given["name"] == "application_id":
                    given["schema"] = {"type": "string", "enum": ["tiny", "custom", "nothing"]}
    launch = made["components"]["schemas"]["Launch"]["properties"]
    launch["application"] = {"type": "string", "enum": ["tiny", "custom"]}
    launch["name"] = {"type": "string", "pattern": "^[a-z]{3,12}$"}
    return made


Test = Callable[[Any, Asking], None]
schema: Any = schemathesis.openapi.from_dict(described())
with_every_operation: Callable[[Test], Test] = schema.parametrize()


@with_every_operation
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_request_is_too_much(case: Any, asking: Asking) -> None:
    answer = asking.send(case)
    assert answer.headers["x-request-id"]
    case.validate_response(answer, checks=CHECKS)
