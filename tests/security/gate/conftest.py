"""The edge of ``tests/edge``, for the list of threats: once over a script, once over the real services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.gate import ENVIRONMENT_COOKIE
from cmbcluster.domain.views import EnvironmentView
from tests.edge import conftest as edges
from tests.edge.conftest import Edge, open_edge
from tests.edge.stand_ins import free_port
from tests.platform import Platform, open_platform

edge = edges.edge
behind_proxies = edges.behind_proxies


@dataclass
class Whole:
    """The edge, the gate and the services behind it, with their clock; only the application is the echo."""

    edge: Edge
    platform: Platform

    async def running(self, owner: Actor, name: str = "planck") -> EnvironmentView:
        """An environment that runs, whose address is the echo application's."""
        view = await self.platform.running(owner, name)
        async with self.platform.parts.database.transaction() as work:
            row = await work.environments.by_id(view.id)
            assert row is not None
            row.endpoint_host, row.endpoint_port = "127.0.0.1", self.edge.application_port
        return view

    def host(self, view: EnvironmentView) -> str:
        """The Host header of an environment."""
        return self.platform.parts.settings.environment_host(view.slug)

    async def code(self, actor: Actor, view: EnvironmentView) -> str:
        """A one-time code, as the dashboard makes it."""
        return (await self.platform.parts.access.mint(actor, view.id)).split("code=")[1]

    async def enter(self, view: EnvironmentView, code: str, host: str = "") -> tuple[int, str]:
        """Present a code through the edge; the status and the cookie that came back, if one did."""
        answer = await self.edge.client.get(f"/.cmb/enter?code={code}", headers={"Host": host or self.host(view)})
        for cookie in answer.headers.get_list("set-cookie"):
            if cookie.startswith(f"{ENVIRONMENT_COOKIE}="):
                return answer.status_code, cookie.partition(";")[0]
        return answer.status_code, ""

    async def get(self, view: EnvironmentView, cookie: str, **headers: str) -> tuple[int, str]:
        """Ask an environment's host with its cookie; status and text."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.edge.client.get("/", headers={"Host": self.host(view), "Cookie": cookie, **named})
        return answer.status_code, answer.text


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[Whole]:
    """The real services behind the real edge. No answer is reused, so that a test need not wait for one to go."""
    port = free_port()
    async with open_platform(tmp_path, port=port) as platform:
        parts = platform.parts
        async with open_edge(tmp_path, parts.settings, parts.access, behind_proxies=False) as opened:
            yield Whole(opened, platform)
