"""What is deleted is ours, and what cannot be deleted keeps nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes import leftovers, manifests, names
from cmbcluster.runtime.kubernetes.bundles import Bundles
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.kubernetes.watching import Watcher
from tests.runtime.kubernetes.api import served
from tests.runtime.kubernetes.specs import GROUND, packages_spec

SPEC = packages_spec(variables={"KEY": "value"})


@pytest.mark.parametrize("is_ours", [True, False])
async def test_with_a_pod_goes_its_own_secret_and_nobody_elses(is_ours: bool) -> None:
    secret: dict[str, Any] = {"metadata": {"name": names.secret_name(SPEC.ref), "uid": "s1", "labels": {}}}
    if is_ours:
        secret["metadata"]["labels"] = names.run_labels(GROUND.place, SPEC.ref)
    pod = manifests.pod(GROUND, SPEC, None)
    pod["metadata"] |= {"uid": "u1"}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(secret if request.method == "GET" else {})

    async with served(answer) as (cluster, script):
        await Objects(cluster, GROUND).end_pod(pod, grace_seconds=3)
    deleted = [(path.rsplit("/", 2)[1], body["preconditions"]["uid"]) for how, path, _, body in script.asked
               if how == "DELETE"]  # fmt: skip
    assert deleted == [*([("secrets", "s1")] if is_ours else []), ("pods", "u1")]


async def test_bundles_that_cannot_be_deleted_keep_no_other_leftovers() -> None:
    asked = 0

    class Refusing:
        async def clear(self, _pods: object) -> None:
            nonlocal asked
            asked += 1
            raise RuntimeUnavailable("The cluster refused: 403 forbidden", retryable=False)

    pods = cast(Watcher, SimpleNamespace(heard_at=datetime.now(UTC), known={}))
    await leftovers.clear_bundles(cast(Bundles, Refusing()), pods)
    assert asked == 1


@pytest.mark.parametrize(
    ("change", "is_copy"),
    [
        ({}, False),
        ({"spec": {"dataSource": {"kind": "VolumeSnapshot", "name": "monday"}}}, True),
        ({"spec": {"dataSourceRef": {"kind": "VolumeSnapshot", "name": "monday"}}}, True),
        ({"labels": {"velero.io/restore-name": "monday"}}, True),
    ],
)
def test_a_workspace_that_is_made_of_a_backup_is_known_by_its_claim(change: dict[str, Any], is_copy: bool) -> None:
    claim = manifests.claim(GROUND, SPEC)
    claim["spec"] |= change.get("spec", {})
    claim["metadata"]["labels"] |= change.get("labels", {})
    found = names.workspace_of(claim)
    assert found is not None
    assert found.is_copy is is_copy
