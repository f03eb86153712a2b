"""From a spec to the objects that run it. Pure: the same spec always makes the same objects.

Every pod meets Pod Security *restricted*: an unprivileged account, no capability, no token of
the cluster, the default system call filter, and a root that cannot be written unless an image
needs it. Memory is asked for in full, so that nobody ends because of a neighbour; of the
processor a quarter is, since work by hand comes in bursts. A pod is never started again by
the node: how it ended is for the platform to see and for the owner to decide.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cmbcluster.domain.images import PinnedImage
from cmbcluster.runtime.kubernetes import inside, names
from cmbcluster.runtime.kubernetes.emptying import EVERYTHING
from cmbcluster.runtime.kubernetes.names import Json, Place
from cmbcluster.runtime.kubernetes.packages import MOUNT, SENT, Bundle
from cmbcluster.runtime.kubernetes.packages import PROGRAM as INSTALLS
from cmbcluster.runtime.port import Packages, Placement, Spec

PROGRAM = "program"
# Each application has a port of its own; network policies allow the one that its pod calls so.
PORT_NAME = "http"
INSTALLER = "packages"
ACCOUNT = 1000
NODE_AWAY_SECONDS = 1800  # A node that is silent for a while still runs what it ran.
TMP_SHARE = 2  # Half of what may be written outside of the workspace may be in /tmp.
KEPT_OUTSIDE_BYTES = 256 * 1024**2
PROBE_SECONDS = 2
STILL_READY_SECONDS = 10
PULL_KEY = ".dockerconfigjson"
PACKAGE_COUNT = names.PREFIX + "package-count"
IMAGE_BYTES = names.PREFIX + "image-bytes"
OPERATION = names.PREFIX + "operation"


@dataclass(frozen=True)
class Ground:
    """What the platform's settings say about every environment.

    ``own_packages_bytes`` is what an environment's own volume of packages may hold; 0 where they share one.
    """

    place: Place
    workspace_image: str
    index_url: str = ""
    storage_class: str = ""
    ephemeral_bytes: int = 4 * 1024**3
    own_packages_bytes: int = 0
    grace_seconds: int = 10
    cpu_request_percent: int = 25
    memory_request_percent: int = 100


def claim(ground: Ground, spec: Spec) -> Json:
    """The workspace. It outlives every pod and is only ever deleted by name."""
    storage_class = spec.placement.storage_class or ground.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": names.claim_name(spec.ref.slug),
            "namespace": ground.place.namespace,
            "labels": names.labels(ground.place, spec.ref),
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": str(spec.workspace_bytes)}},
            **({"storageClassName": storage_class} if storage_class else {}),
        },
    }


def needs_secret(spec: Spec) -> bool:
    """Whether there is anything that may not be written into a pod."""
    return bool(spec.variables or spec.pull_config)


def secret(ground: Ground, spec: Spec, claim_uid: str) -> Json:
    """The variables and the registry's password of one run, in one object to spare a write.

    The claim is its owner: a pod cannot be, since it has to come after its secret, or it would
    wait for one that we may not live to make. It is deleted when the run is stopped.
    """
    values = {f"v{number}": value for number, value in enumerate(spec.variables.values())}
    if spec.pull_config:
        values[PULL_KEY] = spec.pull_config
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.secret_name(spec.ref),
            "namespace": ground.place.namespace,
            "labels": names.run_labels(ground.place, spec.ref),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "name": names.claim_name(spec.ref.slug),
                    "uid": claim_uid,
                }
            ],
        },
        "type": "kubernetes.io/dockerconfigjson" if spec.pull_config else "Opaque",
        "immutable": True,
        "stringData": values,
    }


def pod(ground: Ground, spec: Spec, bundle: Bundle | None, *, needed: str | None = EVERYTHING) -> Json:
    """The environment itself. ``bundle`` is what Packages are installed from; None for an image.

    ``needed`` is what its installer is told of the use of other builds; None spares the installer, which has
    nothing to do any more.
    """
    ref, placement = spec.ref, spec.placement
    annotations = {OPERATION: spec.operation_id} if spec.operation_id else {}
    if isinstance(spec.content, Packages):
        annotations[PACKAGE_COUNT] = str(spec.content.lock.packages)
        annotations |= {names.PACKAGES: bundle.key} if bundle is not None else {}
    else:
        annotations[IMAGE_BYTES] = str(spec.content.size_bytes)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.pod_name(ref.slug),
            "namespace": ground.place.namespace,
            "labels": names.run_labels(ground.place, ref) | _reach(placement),
            "annotations": annotations,
        },
        "spec": {
            "hostname": ref.slug[:63].rstrip("-"),
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # As the first process of a container a program would not end when it is asked to.
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": ground.grace_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": ACCOUNT,
                "runAsGroup": ACCOUNT,
                "fsGroup": ACCOUNT,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **({"initContainers": [_installer(ground, spec, bundle, needed)]} if bundle and needed else {}),
            "containers": [_program(ground, spec, bundle)],
            "volumes": _volumes(ground, spec, bundle, sent=needed is not None),
            **_placed(spec),
        },
    }


def _reach(placement: Placement) -> dict[str, str]:
    """The label that network rules know an environment without the internet by."""
    return {} if placement.internet else {names.INTERNET: names.NO_INTERNET}


def _is_on_nodes(spec: Spec) -> bool:
    """Whether no registry has the image, so that a node without it must not ask for it anywhere."""
    return isinstance(spec.content, PinnedImage) and bool(spec.content.tag_on_nodes)


def _program(ground: Ground, spec: Spec, bundle: Bundle | None) -> Json:
    program, build = spec.program, bundle.folder if bundle is not None else ""
    plain = inside.variables(program, build)
    environment: list[Json] = [
        {"name": name, "value": value} for name, value in plain.items() if name not in spec.variables
    ]
    environment += [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": names.secret_name(spec.ref), "key": f"v{number}"}}}
        for number, name in enumerate(spec.variables)
    ]
    answer = {"path": program.health_path, "port": program.port, "scheme": "HTTP"}
    return {
        "name": PROGRAM,
        "image": _image(ground, spec),
        "imagePullPolicy": "Never" if _is_on_nodes(spec) else "IfNotPresent",
        # Without words of ours an image starts as it was made to.
        **({"command": inside.command(program, build)} if program.command else {}),
        "workingDir": inside.WORKSPACE,
        "env": environment,
        "ports": [{"name": PORT_NAME, "containerPort": program.port, "protocol": "TCP"}],
        "resources": _resources(ground, spec),
        "securityContext": _confined(root_is_writable=spec.placement.root_is_writable),
        "startupProbe": {
            "httpGet": answer,
            "periodSeconds": 1,
            "timeoutSeconds": PROBE_SECONDS,
            # The first probe comes at once.
            "failureThreshold": program.ready_within_seconds + 1,
        },
        "readinessProbe": {
            "httpGet": answer,
            "periodSeconds": STILL_READY_SECONDS,
            "timeoutSeconds": STILL_READY_SECONDS,
            "failureThreshold": 3,
        },
        "volumeMounts": [
            {"name": "workspace", "mountPath": inside.WORKSPACE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *([{"name": "packages", "mountPath": MOUNT, "readOnly": True}] if bundle is not None else []),
        ],
    }


def _installer(ground: Ground, spec: Spec, bundle: Bundle, needed: str) -> Json:
    """Installs the lock unless the volume has it already. Never sees the person's variables."""
    assert isinstance(spec.content, Packages)  # noqa: S101 - a bundle is made from packages alone
    environment = {
        "CMB_BUILD": bundle.key,
        "CMB_PYTHON": spec.content.lock.python,
        "CMB_FROM_SOURCE": "1" if spec.content.source.from_source else "0",
        "CMB_NEEDED": needed,
        "HOME": "/tmp",  # noqa: S108
        **({"UV_DEFAULT_INDEX": ground.index_url} if ground.index_url else {}),
    }
    return {
        "name": INSTALLER,
        "image": ground.workspace_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", f"{SENT}/{INSTALLS}"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": _resources(ground, spec, gpus=False),
        "securityContext": _confined(),
        "volumeMounts": [
            {"name": "packages", "mountPath": MOUNT},
            {"name": "sent", "mountPath": SENT, "readOnly": True},
            {"name": "workspace", "mountPath": inside.WORKSPACE, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _image(ground: Ground, spec: Spec) -> str:
    return ground.workspace_image if isinstance(spec.content, Packages) else spec.content.address


def _confined(*, root_is_writable: bool = False) -> Json:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": not root_is_writable,
        "runAsNonRoot": True,
    }


def _resources(ground: Ground, spec: Spec, *, gpus: bool = True) -> Json:
    ephemeral_bytes = _ephemeral_bytes(ground, spec.placement)
    # They are written at every start, so a machine has to have room for them.
    packages_bytes = ground.own_packages_bytes if isinstance(spec.content, Packages) else 0
    limits = {
        "cpu": f"{spec.cpu_millis}m",
        "memory": str(spec.memory_bytes),
        "ephemeral-storage": str(ephemeral_bytes + packages_bytes),
    }
    requests = {
        "cpu": f"{max(1, spec.cpu_millis * ground.cpu_request_percent // 100)}m",
        "memory": str(spec.memory_bytes * ground.memory_request_percent // 100),
        "ephemeral-storage": str(min(KEPT_OUTSIDE_BYTES, ephemeral_bytes) + packages_bytes),
    }
    if gpus and spec.placement.gpus:
        requests[spec.placement.gpu_resource] = limits[spec.placement.gpu_resource] = str(spec.placement.gpus)
    return {"limits": limits, "requests": requests}


def _ephemeral_bytes(ground: Ground, placement: Placement) -> int:
    return placement.ephemeral_bytes or ground.ephemeral_bytes


def _volumes(ground: Ground, spec: Spec, bundle: Bundle | None, *, sent: bool) -> list[Json]:
    tmp_bytes = _ephemeral_bytes(ground, spec.placement) // TMP_SHARE
    made: list[Json] = [
        {"name": "workspace", "persistentVolumeClaim": {"claimName": names.claim_name(spec.ref.slug)}},
        {"name": "tmp", "emptyDir": {"sizeLimit": str(tmp_bytes)}},
    ]
    if bundle is not None and ground.own_packages_bytes:
        made.append({"name": "packages", "emptyDir": {"sizeLimit": str(ground.own_packages_bytes)}})
    elif bundle is not None:
        shared = names.packages_claim_name(ground.place.instance)
        made.append({"name": "packages", "persistentVolumeClaim": {"claimName": shared}})
    if bundle is not None and sent:
        made.append({"name": "sent", "configMap": {"name": bundle.name, "defaultMode": 0o444}})
    return made


def _placed(spec: Spec) -> Json:
    """Where it may run, and what it brings to be let in."""
    placement = spec.placement
    tolerations: list[Json] = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NODE_AWAY_SECONDS}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    ]
    for each in placement.tolerations:
        accepted = {"key": each.key, "operator": "Equal" if each.value else "Exists"}
        accepted |= {"value": each.value} if each.value else {}
        tolerations.append(accepted | ({"effect": each.effect} if each.effect else {}))
    made: Json = {"tolerations": tolerations}
    if placement.node_selector:
        made["nodeSelector"] = dict(placement.node_selector)
    if placement.priority_class:
        made["priorityClassName"] = placement.priority_class
    if spec.pull_config:
        made["imagePullSecrets"] = [{"name": names.secret_name(spec.ref)}]
    return made


def canonical(made: Json) -> str:
    """An object as text that is the same each time, for comparisons and for people."""
    return json.dumps(made, indent=2, sort_keys=True) + "\n"
