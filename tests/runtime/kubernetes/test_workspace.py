"""A workspace grows with what its owner may have, and never keeps a launch from going on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cmbcluster.runtime.kubernetes import manifests
from cmbcluster.runtime.kubernetes.objects import Objects
from cmbcluster.runtime.port import Spec
from tests.runtime.kubernetes.api import Answer, refuses, says, served
from tests.runtime.kubernetes.specs import GIB, GROUND, packages_spec

TEN = packages_spec()
FIFTY = replace(TEN, workspace_bytes=50 * GIB)
GROWN = {"spec": {"resources": {"requests": {"storage": str(50 * GIB)}}}}


def claim_of(spec: Spec, storage: str = "") -> dict[str, Any]:
    """What the cluster has of a workspace."""
    made = manifests.claim(GROUND, spec)
    made["metadata"]["uid"] = "u1"
    if storage:
        made["spec"]["resources"]["requests"]["storage"] = storage
    return made


async def asked_for(spec: Spec, *answers: Answer) -> list[tuple[str, Any]]:
    """The requests of a launch for its workspace, which is there in any case."""
    async with served(*answers) as (cluster, script):
        found = await Objects(cluster, GROUND).make_claim(spec)
        assert found["metadata"]["uid"] == "u1"
        return [(method, body) for method, _, _, body in script.asked]


@pytest.mark.parametrize("storage", ["", "10Gi"])
async def test_a_workspace_grows_when_its_owner_may_have_more(storage: str) -> None:
    asked = await asked_for(FIFTY, says(claim_of(TEN, storage)), says(claim_of(FIFTY)))
    assert asked == [("GET", None), ("PATCH", GROWN)]


@pytest.mark.parametrize(("spec", "storage"), [(TEN, "10Gi"), (TEN, "50Gi"), (FIFTY, "50Gi")])
async def test_a_workspace_that_is_large_enough_stays_as_it_is(spec: Spec, storage: str) -> None:
    assert await asked_for(spec, says(claim_of(TEN, storage))) == [("GET", None)]


@pytest.mark.parametrize("status", [403, 422])
async def test_a_workspace_that_cannot_grow_keeps_no_launch_from_going_on(status: int) -> None:
    refused = refuses(status, "Forbidden", "only dynamically provisioned pvc can be resized")
    asked = await asked_for(FIFTY, says(claim_of(TEN)), refused)
    assert asked == [("GET", None), ("PATCH", GROWN)]
