"""What environments share goes when nothing needs it any more, and comes back when something does."""

from __future__ import annotations

import asyncio

import pytest

from cmbcluster.domain.sources import Lock
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from tests.kubernetes.cluster import PYTHON, Admin, end_all, opened, settings_for, spec_of, until_true

pytestmark = pytest.mark.kubernetes
UNUSED_SECONDS = 0.4
FOREIGN = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "packages-of-somebody"}}


async def cleared_twice(runtime: KubernetesRuntime) -> None:
    for _ in range(2):
        await runtime.clear_unused()
        await asyncio.sleep(UNUSED_SECONDS * 1.5)
    await runtime.clear_unused()


async def test_a_bundle_goes_when_nothing_has_needed_it_for_long(own_namespace: str, own_admin: Admin) -> None:
    # Elsewhere the pods of other tests come and go, and their bundles with them.
    namespace, admin = own_namespace, own_admin
    await admin.create("configmaps", FOREIGN)
    lock = Lock("made-up==1\n", PYTHON, 1)
    async with opened(settings_for(namespace), unused_seconds=UNUSED_SECONDS) as runtime:
        spec = spec_of("bundled", lock=lock)
        others = await admin.names("configmaps")
        await runtime.start(spec)
        (bundle,) = await admin.names("configmaps") - others

        async def is_watched() -> bool:
            return bool(runtime._pods and runtime._pods.known)

        await until_true(is_watched, 20)
        await cleared_twice(runtime)
        assert bundle in await admin.names("configmaps"), "a pod installs from it"

        await end_all(runtime, admin, spec.ref)

        async def is_seen_to_be_gone() -> bool:
            return not await is_watched()

        await until_true(is_seen_to_be_gone, 60)
        await cleared_twice(runtime)
        assert await admin.names("configmaps") == others

        again = spec_of("bundled-again", lock=lock)
        await runtime.start(again)
        assert bundle in await admin.names("configmaps")
        await end_all(runtime, admin, again.ref)
