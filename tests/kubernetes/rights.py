"""Accounts of the cluster that may do what the chart gives a role, or less; the chart's own words, not a copy."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from cmbcluster.domain.views import UsageView
from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import LogLine, Ref
from cmbcluster.settings import Settings
from tests.kubernetes.cluster import Admin, admin_of, until_true

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "cmbcluster"
GIVEN = {
    "publicUrl": "https://cmb.example.org",
    "environments.workspaceImage": "registry.example.org/workspace:1",
    "secrets.existing": "given",
}
ROLES = ("controller", "web")
# What is in no namespace.
WIDE = frozenset({"nodes"})
RBAC = "rbac.authorization.k8s.io"
# A kind with the group it is of, such as pods.metrics.k8s.io, and what may be done.
Right = tuple[str, str]
Rights = dict[str, set[Right]]


def needs_helm() -> None:
    """Skips the test that is running where the chart cannot be read."""
    if shutil.which("helm") is None:
        required = os.environ.get("CMB_REQUIRE_ALL") and not os.environ.get("CMB_WITHOUT_CLUSTER")
        (pytest.fail if required else pytest.skip)("needs helm on PATH to render the chart")


def rights_of_chart() -> Rights:
    """What each role of an installed platform may do: in the namespace of the environments, or in the whole cluster."""
    needs_helm()
    sets = [word for name, value in GIVEN.items() for word in ("--set-string", f"{name}={value}")]
    command = ["helm", "template", "cmb", str(CHART), "--namespace", "cmb", "--kube-version", "1.34.0", *sets]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [each for each in yaml.safe_load_all(text) if each]
    roles = {each["metadata"]["name"]: each["rules"] for each in found if each["kind"] in ("Role", "ClusterRole")}
    bindings = [each for each in found if each["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    return {
        name: {
            (f"{kind}.{group}".rstrip("."), verb)
            for binding in bindings
            if f"cmb-cmbcluster-{name}" in {each["name"] for each in binding["subjects"]}
            for rule in roles[binding["roleRef"]["name"]]
            for group in rule["apiGroups"]
            for kind in rule["resources"]
            for verb in rule["verbs"]
        }
        for name in ROLES
    }


async def configured(admin: Admin, name: str, rights: Iterable[Right]) -> Configuration:
    """How to reach the cluster as a new service account that may do only that, once it may."""
    rights = sorted(rights)
    await admin.create("serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    inside = [right for right in rights if right[0] not in WIDE]
    await _bind(admin, name, f"/apis/{RBAC}/v1/namespaces/{admin.namespace}", "", {"name": name}, inside)
    wide = [right for right in rights if right[0] in WIDE]
    if wide:
        namespace = await admin.cluster.get(admin.base)
        assert namespace is not None
        # It goes with the namespace of the test.
        owner = {"apiVersion": "v1", "kind": "Namespace", "name": admin.namespace, "uid": namespace["metadata"]["uid"]}
        about = {"name": f"{admin.namespace}-{name}", "ownerReferences": [owner]}
        await _bind(admin, name, f"/apis/{RBAC}/v1", "Cluster", about, wide)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = await admin.create(f"serviceaccounts/{name}/token", asked)
    made = Configuration()
    await load_kube_config(config_file=os.environ["KUBECONFIG"], client_configuration=made)
    made.cert_file = made.key_file = None
    made.api_key["BearerToken"] = f"Bearer {answer['status']['token']}"
    cluster = Cluster(made)
    try:
        # The API server learns of a binding a moment after it keeps it.
        for last in (inside[-1:], wide[-1:]):
            for right in last:
                await until_true(partial(_may, cluster, admin.namespace, right), 20)
    finally:
        await cluster.close()
    return made


async def _bind(
    admin: Admin, account: str, base: str, prefix: str, metadata: dict[str, Any], rights: list[Right]
) -> None:
    """A role of these rights, in one namespace or in the whole cluster, and that the account has it."""
    about: dict[str, Any] = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
    rules = [{"apiGroups": [_group(kind)], "resources": [_plain(kind)], "verbs": [verb]} for kind, verb in rights]
    kind = f"{prefix}Role"
    assert await admin.cluster.create(f"{base}/{kind.lower()}s", about | {"kind": kind, "rules": rules}) is not None
    binding = about | {
        "kind": f"{kind}Binding",
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": admin.namespace}],
    }
    assert await admin.cluster.create(f"{base}/{kind.lower()}bindings", binding) is not None


async def _may(cluster: Cluster, namespace: str, right: Right) -> bool:
    kind, verb = right
    resource, _, part = _plain(kind).partition("/")
    where = "" if kind in WIDE else namespace
    wish = {"namespace": where, "group": _group(kind), "resource": resource, "subresource": part, "verb": verb}
    review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = await cluster.create(path, review | {"spec": {"resourceAttributes": wish}})
    return bool(answer and answer["status"]["allowed"])


def _plain(kind: str) -> str:
    return kind.partition(".")[0]


def _group(kind: str) -> str:
    return kind.partition(".")[2]


async def accounts_of_chart(namespace: str) -> dict[str, Configuration]:
    """An account for each role of an installed platform."""
    async with admin_of(namespace) as admin:
        rights = rights_of_chart()
        made = await asyncio.gather(*(configured(admin, f"chart-{role}", rights[role]) for role in ROLES))
        return dict(zip(ROLES, made, strict=True))


def connecting(configuration: Configuration) -> Callable[[], Awaitable[Cluster]]:
    """How a runtime reaches the cluster as that account."""

    async def connect() -> Cluster:
        return Cluster(configuration)

    return connect


class Installed(KubernetesRuntime):
    """The runtime as an installed platform has it: two accounts, of which the web's looks at logs and figures."""

    def __init__(self, settings: Settings, accounts: dict[str, Configuration]) -> None:
        super().__init__(settings, connect=connecting(accounts["controller"]))
        self._web = KubernetesRuntime(settings, connect=connecting(accounts["web"]))

    async def open(self, *, follow: bool = True) -> None:
        await super().open(follow=follow)
        await self._web.open(follow=False)

    async def close(self) -> None:
        await super().close()
        await self._web.close()

    async def logs(self, ref: Ref, *, offset: int, follow: bool) -> AsyncIterator[LogLine]:
        async for line in self._web.logs(ref, offset=offset, follow=follow):
            yield line

    async def usage(self, ref: Ref) -> UsageView | None:
        return await self._web.usage(ref)

    async def workspace_bytes(self, ref: Ref) -> int | None:
        return await self._web.workspace_bytes(ref)
