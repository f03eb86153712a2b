"""The Kubernetes runtime keeps the contract on a real cluster, with no more rights than the chart gives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client.configuration import Configuration

from cmbcluster.domain.sources import Lock
from cmbcluster.runtime.port import Ref, Spec
from tests.contracts.runtime_contract import OpenRuntime, RuntimeContract
from tests.kubernetes.cluster import PYTHON, SERVES, Admin, admin_of, settings_for, spec_of
from tests.kubernetes.conftest import namespace as namespace  # the same fixture, here too
from tests.kubernetes.rights import Installed, accounts_of_chart
from tests.runtime.place import python

COMMANDS = {
    "serves": SERVES,
    "slow": python("import time; time.sleep(60)"),
    "exits": python("import sys; print('going'); sys.exit(3)"),
    "never_ready": python("import time; print('waiting', flush=True); time.sleep(60)"),
    "broken_build": SERVES,
}


@pytest.fixture(scope="session")
def accounts(namespace: str) -> dict[str, Configuration]:
    """Who the roles of an installed platform are for the cluster."""
    return asyncio.run(accounts_of_chart(namespace))


@pytest.mark.kubernetes
class TestKubernetesRuntime(RuntimeContract):
    measures_at_once = False
    admin: Admin

    @pytest.fixture(autouse=True)
    async def looked_at(self, namespace: str) -> AsyncIterator[None]:
        async with admin_of(namespace) as admin:
            self.admin = admin
            yield

    @pytest.fixture
    async def runtime(self, namespace: str, accounts: dict[str, Configuration]) -> AsyncIterator[OpenRuntime]:
        runtime = Installed(settings_for(namespace), accounts)
        await runtime.open()
        try:
            yield runtime
        finally:
            await runtime.close()

    async def has_workspace(self, runtime: OpenRuntime, ref: Ref) -> bool:
        claim = await self.admin.cluster.get(f"{self.admin.base}/persistentvolumeclaims/workspace-{ref.slug}")
        return claim is not None and "deletionTimestamp" not in claim["metadata"]

    def spec(self, runtime: OpenRuntime, slug: str, kind: str, generation: int = 1) -> Spec:
        broken = {"lock": Lock("this is not a lock\n", PYTHON, 1)} if kind == "broken_build" else {}
        ready_within_seconds = 1 if kind == "never_ready" else 30
        return spec_of(slug, COMMANDS[kind], generation=generation, ready_within_seconds=ready_within_seconds, **broken)
