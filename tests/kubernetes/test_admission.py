"""The cluster's own admission beside our rules: what *restricted* lets in and what it does not. Nothing is kept."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmbcluster.runtime.kubernetes.client import ApiRefused
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Place
from cmbcluster.runtime.port import Spec
from tests.kubernetes.cluster import Admin
from tests.runtime.kubernetes.restricted import BREAKS, faults
from tests.runtime.kubernetes.specs import GROUND, OWN_GROUND, catalogue_specs, objects_of, packages_spec, specs

pytestmark = pytest.mark.kubernetes
# The API server's own rules contradict each other before Pod Security is asked.
INVALID = {"privileged"}


KINDS = {"PersistentVolumeClaim": "persistentvolumeclaims", "Secret": "secrets", "Pod": "pods"}


def made_for(admin: Admin, spec: Spec, ground: Ground = GROUND) -> list[dict[str, Any]]:
    ground = replace(ground, place=Place(admin.namespace, GROUND.place.instance))
    # A class is looked for in the cluster, and none is there.
    spec = replace(spec, placement=replace(spec.placement, priority_class=""))
    return objects_of(spec, ground)


def pod_of(admin: Admin, spec: Spec) -> dict[str, Any]:
    return made_for(admin, spec)[-1]


async def tried(admin: Admin, body: dict[str, Any]) -> dict[str, Any]:
    """What the API server would keep, after everything that admits or refuses."""
    return await admin.cluster._ask("POST", f"{admin.base}/{KINDS[body['kind']]}", {"dryRun": "All"}, body)


@pytest.mark.parametrize("spec", catalogue_specs(), ids=lambda spec: str(spec.ref.slug))
async def test_every_application_of_the_catalogue_is_let_in(admin: Admin, spec: Spec) -> None:
    pod = pod_of(admin, spec)
    kept = await tried(admin, pod)
    assert kept["spec"]["containers"][0]["command"] == pod["spec"]["containers"][0]["command"]
    assert kept["spec"]["securityContext"] == pod["spec"]["securityContext"]
    assert await admin.pod(spec.ref.slug) is None, "it was only tried"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=specs, ground=st.sampled_from([GROUND, OWN_GROUND]))
async def test_whatever_the_domain_allows_is_let_in(admin: Admin, spec: Spec, ground: Ground) -> None:
    for body in made_for(admin, spec, ground):
        assert (await tried(admin, body))["metadata"]["uid"]


@pytest.mark.parametrize("name", BREAKS)
async def test_what_our_rules_see_is_refused_as_well(admin: Admin, name: str) -> None:
    pod = copy.deepcopy(pod_of(admin, packages_spec()))
    assert (await tried(admin, pod))["metadata"]["uid"]
    BREAKS[name](pod)
    assert faults(pod)
    with pytest.raises(ApiRefused) as refused:
        await tried(admin, pod)
    if name in INVALID:
        assert refused.value.status == 422
    else:
        assert "violates PodSecurity" in refused.value.message
