"""The runtime under an account that may do exactly what docs/kubernetes.md lists, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from cmbcluster.domain.sources import Lock
from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes import manifests, names
from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Place
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Observation, Sight, Spec
from tests.contracts.runtime_contract import collect, eventually, watching
from tests.kubernetes.cluster import PYTHON, Admin, end_all, opened, settings_for, spec_of, wanted
from tests.runtime.place import until

pytestmark = pytest.mark.kubernetes
RULES: list[tuple[str, str, list[str]]] = [
    ("", "pods", ["get", "list", "watch", "create", "delete"]),
    ("", "pods/log", ["get"]),
    ("", "events", ["list", "watch"]),
    ("", "persistentvolumeclaims", ["get", "list", "create", "patch", "delete"]),
    ("", "secrets", ["get", "create", "delete"]),
    ("", "configmaps", ["get", "list", "create", "delete"]),
    ("metrics.k8s.io", "pods", ["get"]),
]


async def account(admin: Admin, name: str, rules: list[tuple[str, str, list[str]]]) -> Configuration:
    """How to reach the cluster as somebody who may do only that."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{admin.namespace}"
    await admin.create("serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    role: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": [{"apiGroups": [group], "resources": [kind], "verbs": verbs} for group, kind, verbs in rules],
    }
    assert await admin.cluster.create(f"{rbac}/roles", role) is not None
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": admin.namespace}],
    }
    assert await admin.cluster.create(f"{rbac}/rolebindings", binding) is not None
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = await admin.create(f"serviceaccounts/{name}/token", asked)
    made = Configuration()
    await load_kube_config(config_file=os.environ["KUBECONFIG"], client_configuration=made)
    made.cert_file = made.key_file = None
    made.api_key["BearerToken"] = f"Bearer {answer['status']['token']}"
    return made


async def test_a_whole_life_with_the_rights_that_are_listed(namespace: str, admin: Admin) -> None:
    configuration = await account(admin, "listed", RULES)

    async def connect() -> Cluster:
        return Cluster(configuration)

    async with opened(settings_for(namespace), connect=connect) as runtime:
        spec, seen = spec_of("rights", variables={"KEY": "value"}), list[Observation]()
        async with watching(runtime, seen):
            await runtime.start(spec)
            await eventually(seen, spec.ref, Sight.RUNNING)
            assert await collect(runtime.logs(spec.ref, offset=0, follow=False))
            assert await runtime.usage(spec.ref) is not None
            await runtime.stop(spec.ref)
            await eventually(seen, spec.ref, Sight.EXITED)
            await until(runtime, spec.ref, Sight.EXITED)
            second = spec_of("rights", generation=2)
            await runtime.start(second)
            await until(runtime, second.ref, Sight.RUNNING, Sight.EXITED)
        await end_all(runtime, admin, second.ref)


@pytest.mark.parametrize("kind", ["pods", "persistentvolumeclaims", "secrets", "configmaps"])
async def test_without_the_right_to_make_something_it_is_not_the_owners_fault(
    namespace: str, admin: Admin, kind: str
) -> None:
    less = [(group, what, [v for v in verbs if (what, v) != (kind, "create")]) for group, what, verbs in RULES]
    configuration = await account(admin, f"without-{kind}", less)

    async def connect() -> Cluster:
        return Cluster(configuration)

    async with opened(settings_for(namespace), connect=connect) as runtime:
        lock = Lock(f"made-up-{kind}==1\n", PYTHON, 1)
        spec = spec_of(f"without-{kind}", variables={"KEY": "value"}, lock=lock)
        with pytest.raises(RuntimeUnavailable, match="cannot create resource"):
            await runtime.start(spec)
        assert (await runtime.look(spec.ref)).sight is Sight.ABSENT
        await end_all(runtime, admin, spec.ref)


CLAIMS = "persistentvolumeclaims"
Operation = Callable[[KubernetesRuntime, Spec, Spec], Awaitable[object]]
# The cheapest operation that needs each right; of two environments, the first has a pod and the second has none.
NEEDED_FOR: dict[tuple[str, str], Operation] = {
    ("pods", "get"): lambda runtime, there, _: runtime.look(there.ref),
    ("persistentvolumeclaims", "get"): lambda runtime, _, bare: runtime.look(bare.ref),
    ("configmaps", "get"): lambda runtime, _, bare: runtime.start(bare),
    ("secrets", "delete"): lambda runtime, there, _: runtime.stop(there.ref),
    ("persistentvolumeclaims", "patch"): lambda runtime, there, _: runtime.stop(there.ref),
    ("pods", "delete"): lambda runtime, there, _: runtime.stop(there.ref),
    ("secrets", "get"): lambda runtime, _, bare: runtime.remove(bare.ref, workspace=True),
    ("persistentvolumeclaims", "delete"): lambda runtime, _, bare: runtime.remove(bare.ref, workspace=True),
}


async def planted(admin: Admin, name: str) -> tuple[Spec, Spec]:
    """An environment whose pod finds no machine, and one that has a workspace alone."""
    ground = Ground(Place(admin.namespace, settings_for(admin.namespace).instance), wanted("CMB_TEST_WORKSPACE_IMAGE"))
    there = spec_of(f"there-{name}", variables={"KEY": "value"})
    bare = spec_of(f"bare-{name}", lock=Lock("made-up==1\n", PYTHON, 1))
    claim = await admin.create("persistentvolumeclaims", manifests.claim(ground, there))
    await admin.create("persistentvolumeclaims", manifests.claim(ground, bare))
    await admin.create("secrets", manifests.secret(ground, there, names.uid_of(claim)))
    pod = manifests.pod(ground, there, None)
    pod["spec"]["nodeSelector"] = {"nobody": "has-this"}
    await admin.create("pods", pod)
    return there, bare


@pytest.mark.parametrize(("kind", "verb"), NEEDED_FOR)
async def test_without_a_right_that_is_listed_something_fails(
    namespace: str, admin: Admin, kind: str, verb: str
) -> None:
    less = [(group, what, [v for v in verbs if (group, what, v) != ("", kind, verb)]) for group, what, verbs in RULES]
    name = f"{kind}-{verb}"
    every = await account(admin, f"all-{name}", RULES)
    fewer = await account(admin, f"no-{name}", less)

    async def connect(configuration: Configuration) -> Cluster:
        return Cluster(configuration)

    there, bare = await planted(admin, name)
    operation = NEEDED_FOR[kind, verb]
    settings = settings_for(namespace)
    async with opened(settings, connect=partial(connect, fewer)) as runtime:
        with pytest.raises(RuntimeUnavailable, match=f"cannot {verb} resource"):
            await operation(runtime, there, bare)
    async with opened(settings, connect=partial(connect, every)) as runtime:
        await operation(runtime, there, bare)
        await end_all(runtime, admin, there.ref, bare.ref)


async def test_without_the_right_to_list_workspaces_none_is_known(namespace: str, admin: Admin) -> None:
    there, bare = await planted(admin, "listed")
    less = [(group, kind, [v for v in verbs if (kind, v) != (CLAIMS, "list")]) for group, kind, verbs in RULES]
    found: dict[str, set[str]] = {}
    for name, rules in (("lists-not", less), ("lists", RULES)):
        configuration = await account(admin, name, rules)

        async def connect(configuration: Configuration = configuration) -> Cluster:
            return Cluster(configuration)

        async with opened(settings_for(namespace), connect=connect) as runtime:
            found[name] = {each.slug for each in await runtime.workspaces()}
            if name == "lists":
                await end_all(runtime, admin, there.ref, bare.ref)
    assert bare.ref.slug in found["lists"]
    assert found["lists-not"] == set()
