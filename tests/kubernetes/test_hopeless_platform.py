"""Launches that the cluster cannot take whoever asks: no right, no namespace, no scheduler, a check that is silent."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import hopeless, manifests
from cmbcluster.runtime.kubernetes.client import ApiRefused, Cluster
from cmbcluster.runtime.port import Ending
from tests.kubernetes.cluster import Admin, admin_of, opened, settings_for, spec_of, until_true
from tests.kubernetes.hopeless import given_up, ground_of, plant
from tests.kubernetes.rights import configured, rights_of_chart

pytestmark = pytest.mark.kubernetes
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
# Of minutes that the rules give.
PATIENCE = 0.02


def told(ending: Ending | None) -> tuple[StopReason, str]:
    assert ending is not None
    assert ending.then.startswith("Ask whoever runs this platform")
    return ending.reason, ending.what


@asynccontextmanager
async def silent_check(admin: Admin) -> AsyncIterator[None]:
    """Within, somebody who never answers has to allow each pod of the namespace."""
    name = f"cmb-test-{secrets.token_hex(4)}.example.org"
    webhook = {
        "name": name,
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "failurePolicy": "Fail",
        "timeoutSeconds": 1,
        "rules": [PODS],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": admin.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }

    async def is_asked() -> bool:
        try:
            await admin.create("pods?dryRun=All", manifests.pod(ground_of(admin), spec_of("tried"), None))
        except ApiRefused as refused:
            return "failed calling webhook" in refused.message
        return False

    try:
        assert await admin.cluster.create(WEBHOOKS, body) is not None
        await until_true(is_asked, 30)
        yield
    finally:
        await admin.cluster.delete(f"{WEBHOOKS}/{name}")


@pytest.mark.hopeless("admission-silent")
async def test_a_check_that_does_not_answer(own_namespace: str, own_admin: Admin) -> None:
    async with silent_check(own_admin), opened(settings_for(own_namespace), patience=PATIENCE) as runtime:
        seen = await given_up(runtime, own_admin, spec_of("unchecked"))
    what = "Something that has to allow whatever is new in the cluster does not answer."
    assert told(seen.ending) == (StopReason.REFUSED, what)


@pytest.mark.hopeless("no-right")
async def test_a_platform_that_may_not_make_pods(own_namespace: str, own_admin: Admin) -> None:
    rights = set(rights_of_chart()["controller"]) - {("pods", "create")}
    made = await configured(own_admin, "may-not", rights)

    async def connect() -> Cluster:
        return Cluster(made)

    async with opened(settings_for(own_namespace), connect=connect, patience=PATIENCE) as runtime:
        seen = await given_up(runtime, own_admin, spec_of("not-allowed"))
    assert told(seen.ending) == (StopReason.REFUSED, "The platform may not make environments in the cluster.")


@pytest.mark.hopeless("no-namespace")
async def test_a_namespace_that_is_not_there() -> None:
    nowhere = f"cmb-test-{secrets.token_hex(4)}"
    async with admin_of(nowhere) as admin, opened(settings_for(nowhere), patience=PATIENCE) as runtime:
        seen = await given_up(runtime, admin, spec_of("homeless"))
    what = "The cluster has no place for environments: its namespace is not there."
    assert told(seen.ending) == (StopReason.REFUSED, what)


@pytest.mark.hopeless("no-scheduler")
async def test_a_pod_that_no_scheduler_looks_at(namespace: str, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hopeless, "SCHEDULER_SECONDS", 1.0)
    spec = spec_of("overlooked")
    await plant(admin, spec, lambda pod: pod["spec"].update(schedulerName="nobody"))
    async with opened(settings_for(namespace), patience=PATIENCE) as runtime:
        seen = await given_up(runtime, admin, spec)
    what = "Nothing in the cluster chooses a machine for it: its scheduler does not work."
    assert told(seen.ending) == (StopReason.NO_ROOM, what)
