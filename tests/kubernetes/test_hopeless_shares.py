"""Launches that the real cluster refuses for its share, its limits or rules of its own, told in people's words."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import manifests
from cmbcluster.runtime.kubernetes.client import ApiRefused
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Ending, Sight, Spec
from tests.install.people import write_certificate
from tests.kubernetes.answering import answering
from tests.kubernetes.cluster import Admin, admin_of, end_all, opened, settings_for, spec_of, until_true, wanted
from tests.kubernetes.hopeless import ask_differently, given_up, ground_of, plant_claim
from tests.runtime.place import until

pytestmark = pytest.mark.kubernetes
RULES = "/apis/admissionregistration.k8s.io/v1"
PLURALS = {
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


@asynccontextmanager
async def limited(namespace: str, **hard: str) -> AsyncIterator[tuple[Admin, KubernetesRuntime]]:
    """An administrator and a runtime of a namespace with a share of the cluster."""
    async with admin_of(namespace) as admin, opened(settings_for(namespace), patience=0.1) as runtime:
        about = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
        await admin.create("resourcequotas", about | {"spec": {"hard": hard}})
        await until_true(lambda: _is_counted(admin, hard), 20)
        yield admin, runtime


async def _is_counted(admin: Admin, hard: dict[str, str]) -> bool:
    found = await admin.cluster.get(f"{admin.base}/resourcequotas/small")
    return bool(found) and (found or {}).get("status", {}).get("hard", {}) == hard


async def ending_of(runtime: KubernetesRuntime, admin: Admin, spec: Spec) -> Ending:
    ending = (await given_up(runtime, admin, spec)).ending
    assert ending is not None
    return ending


@pytest.mark.hopeless("quota")
async def test_a_quota_that_is_used_up_and_then_raised(own_namespace: str) -> None:
    async with limited(own_namespace, **{"requests.memory": "64Mi"}) as (admin, runtime):
        ending = await ending_of(runtime, admin, spec_of("over-quota"))
        assert ending.reason is StopReason.QUOTA
        share = "The platform's share of the cluster is 64 MiB of memory, and nothing is in use."
        assert ending.what == f"It asked for 128 MiB of memory. {share}"
        raised = {"requests.memory": "1Gi"}
        await admin.cluster.patch(f"{admin.base}/resourcequotas/small", {"spec": {"hard": raised}})
        # Another one, since the workspace of the first is still being removed.
        again = spec_of("within-quota")
        await until_true(lambda: _is_counted(admin, raised), 20)
        await runtime.start(again)
        assert (await until(runtime, again.ref, Sight.RUNNING, Sight.EXITED, seconds=60)).sight is Sight.RUNNING
        await end_all(runtime, admin, again.ref)


@pytest.mark.hopeless("quota-environments")
async def test_one_environment_too_many(own_namespace: str) -> None:
    async with limited(own_namespace, pods="1") as (admin, runtime):
        await runtime.start(spec_of("first"))
        await until_true(lambda: _is_used(admin, "pods", "1"), 20)
        ending = await ending_of(runtime, admin, spec_of("second"))
        share = "The platform's share of the cluster is 1 environment, and 1 is in use."
        assert ending.what == f"It asked for 1 environment. {share}"
        assert ending.then == "Stop another environment, then start it again."
        await end_all(runtime, admin, spec_of("first").ref)


async def _is_used(admin: Admin, name: str, used: str) -> bool:
    found = await admin.cluster.get(f"{admin.base}/resourcequotas/small")
    return bool(found) and (found or {}).get("status", {}).get("used", {}).get(name) == used


@pytest.mark.hopeless("quota-workspaces")
async def test_one_workspace_too_many(own_namespace: str) -> None:
    async with limited(own_namespace, persistentvolumeclaims="1") as (admin, runtime):
        await plant_claim(admin, spec_of("first"))
        await until_true(lambda: _is_used(admin, "persistentvolumeclaims", "1"), 20)
        ending = await ending_of(runtime, admin, spec_of("second"))
        share = "The platform's share of the cluster is 1 workspace, and 1 is in use."
        assert ending.what == f"It asked for 1 workspace. {share}"
        assert "with its workspace that nobody needs" in ending.then


@pytest.mark.hopeless("quota-untold")
async def test_a_quota_of_what_a_pod_does_not_say(own_namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours say all that a quota can count today, unless the cluster takes it out."""

    def silent(pod: dict[str, Any]) -> None:
        for container in pod["spec"]["containers"]:
            container["resources"] = {"requests": {}, "limits": {"memory": container["resources"]["limits"]["memory"]}}

    ask_differently(monkeypatch, silent)
    async with limited(own_namespace, **{"limits.cpu": "4", "limits.memory": "4Gi"}) as (admin, runtime):
        ending = await ending_of(runtime, admin, spec_of("untold"))
    assert ending.reason is StopReason.REFUSED
    assert ending.what.startswith("The platform's share of the cluster counts processor time, and the platform does")


@pytest.mark.hopeless("limit")
async def test_a_limit_of_the_namespace(own_namespace: str) -> None:
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]},
    }
    async with admin_of(own_namespace) as admin, opened(settings_for(own_namespace)) as runtime:
        await admin.create("limitranges", limits)
        ending = (await given_up(runtime, admin, spec_of("over-limit"), seconds=10)).ending
    assert ending is not None
    assert ending.reason is StopReason.QUOTA
    assert ending.what == "The cluster sets a limit of 64 MiB of memory for one environment."


@asynccontextmanager
async def ruled(namespace: str, name: str, *rules: dict[str, Any]) -> AsyncIterator[tuple[Admin, KubernetesRuntime]]:
    """An administrator and a runtime of a cluster that has these rules of somebody else, and knows of them."""
    kinds = [f"{RULES}/{PLURALS[rule['kind']]}" for rule in rules]
    about = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    async with admin_of(namespace) as admin, opened(settings_for(namespace)) as runtime:
        try:
            for kind, rule in zip(kinds, rules, strict=True):
                assert await admin.cluster.create(kind, about | rule) is not None
            await until_true(lambda: _is_forbidden(admin), 30)
            yield admin, runtime
        finally:
            for kind in kinds:
                await admin.cluster.delete(f"{kind}/{name}")


async def _is_forbidden(admin: Admin) -> bool:
    try:
        await admin.create("pods?dryRun=All", manifests.pod(ground_of(admin), spec_of("tried"), None))
    except ApiRefused as refused:
        return "denied" in refused.message
    return False


@pytest.fixture
def name() -> str:
    """A name for what the whole cluster has, which nobody had."""
    return f"cmb-test-{secrets.token_hex(4)}.example.org"


PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


def only_in(namespace: str) -> dict[str, Any]:
    """What keeps a rule from being one for others."""
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


@pytest.mark.hopeless("admission")
async def test_what_a_webhook_of_somebody_else_forbids(own_namespace: str, name: str, tmp_path: Path) -> None:
    address, certificate, key = wanted("CMB_TEST_NODE_ADDRESS"), tmp_path / "certificate", tmp_path / "key"
    write_certificate(address, certificate, key)

    def judge(review: dict[str, Any]) -> dict[str, Any]:
        said = {"message": "  every pod names\na cost centre ", "code": 403}
        review["response"] = {"uid": review.pop("request")["uid"], "allowed": False, "status": said}
        return review

    with answering(address, tls=(certificate, key), judge=judge) as host:
        trust = base64.b64encode(certificate.read_bytes()).decode()
        webhook = {
            "name": name,
            "clientConfig": {"url": f"https://{host}/", "caBundle": trust},
            "rules": [PODS],
            "namespaceSelector": only_in(own_namespace),
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        rule = {"kind": "ValidatingWebhookConfiguration", "webhooks": [webhook]}
        async with ruled(own_namespace, name, rule) as (admin, runtime):
            ending = await ending_of(runtime, admin, spec_of("judged"))
    assert ending.reason is StopReason.REFUSED
    assert ending.what == "A rule of this cluster forbids it: every pod names a cost centre."
    assert f'admission webhook "{name}"' in ending.log_tail


@pytest.mark.hopeless("admission")
async def test_what_a_policy_of_the_cluster_forbids(own_namespace: str, name: str) -> None:
    which = {"resourceRules": [PODS], "namespaceSelector": only_in(own_namespace)}
    never = {"expression": "false", "message": "nobody works at night"}
    policy = {"kind": "ValidatingAdmissionPolicy", "spec": {"matchConstraints": which, "validations": [never]}}
    bound = {"policyName": name, "validationActions": ["Deny"]}
    binding = {"kind": "ValidatingAdmissionPolicyBinding", "spec": bound}
    async with ruled(own_namespace, name, policy, binding) as (admin, runtime):
        ending = await ending_of(runtime, admin, spec_of("at-night"))
    assert ending.what == "A rule of this cluster forbids it: nobody works at night."
