"""What our objects in a cluster are called, and how we know them again.

A name is made from the slug alone, so the API server itself sees to it that an environment
has one pod at most. Labels say whose an object is; an object without ours is somebody else's
and must never be touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cmbcluster.runtime.port import Ref, Workspace

PREFIX = "cmbcluster.io/"
INSTANCE = PREFIX + "instance"
ENVIRONMENT = PREFIX + "env"
GENERATION = PREFIX + "generation"
SLUG = PREFIX + "slug"
PACKAGES = PREFIX + "packages"
INTERNET = PREFIX + "internet"
NO_INTERNET = "none"  # what the network rules of our chart leave out
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "cmbcluster"
ENVIRONMENT_COMPONENT = "environment"
RESTORED_BY = "velero.io/"  # of what labels are called on all that this program brings back
PACKAGES_COMPONENT = "packages"

Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """The namespace of the environments and the platform's name in it."""

    namespace: str
    instance: str

    @property
    def shared_selector(self) -> str:
        """Selects what environments share."""
        return f"{COMPONENT}={PACKAGES_COMPONENT},{INSTANCE}={self.instance}"

    @property
    def selector(self) -> str:
        """What a list or a watch asks for, to see environments of this platform alone."""
        return f"{COMPONENT}={ENVIRONMENT_COMPONENT},{INSTANCE}={self.instance}"

    def owns(self, item: Mapping[str, Any], ref: Ref) -> bool:
        """Whether an object is this platform's and belongs to the environment of ``ref``."""
        labels = labels_of(item)
        return labels.get(INSTANCE) == self.instance and labels.get(ENVIRONMENT) == str(ref.environment_id)


def pod_name(slug: str) -> str:
    """Name of the environment's pod, whatever its run."""
    return f"env-{slug}"


def claim_name(slug: str) -> str:
    """Name of the claim that is the workspace."""
    return f"workspace-{slug}"


def secret_name(ref: Ref) -> str:
    """Name of the secret with the variables of one run."""
    return f"env-{ref.slug}-{ref.generation}"


def packages_claim_name(instance: str) -> str:
    """Name of the claim of installed packages that all environments share."""
    return f"{instance}-packages"


def labels(place: Place, ref: Ref) -> dict[str, str]:
    """The labels of everything that belongs to one environment."""
    return {
        MANAGED_BY: OURS,
        COMPONENT: ENVIRONMENT_COMPONENT,
        INSTANCE: place.instance,
        ENVIRONMENT: str(ref.environment_id),
        SLUG: ref.slug,
    }


def run_labels(place: Place, ref: Ref) -> dict[str, str]:
    """The labels of what belongs to one run of an environment."""
    return {**labels(place, ref), GENERATION: str(ref.generation)}


def labels_of(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Labels of an object, whatever it is."""
    return (item.get("metadata") or {}).get("labels") or {}


def annotations_of(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Annotations of an object, whatever it is."""
    return (item.get("metadata") or {}).get("annotations") or {}


def uid_of(item: Mapping[str, Any]) -> str:
    """The identity of an object, which a name alone is not."""
    return str(item["metadata"]["uid"])


def ref_of(pod: Mapping[str, Any]) -> Ref | None:
    """The run a pod belongs to; None for a pod whose labels are not whole."""
    found = labels_of(pod)
    try:
        return Ref(UUID(found[ENVIRONMENT]), found[SLUG], int(found[GENERATION]))
    except (KeyError, ValueError):
        return None


def config_maps_of(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the config maps that a pod mounts."""
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    return tuple(each["configMap"]["name"] for each in volumes if "configMap" in each)


def claims_of(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the claims that a pod mounts."""
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    return tuple(each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each)


def workspace_of(claim: Mapping[str, Any]) -> Workspace | None:
    """The workspace a claim is; None for a claim whose labels are not whole."""
    found, spec = labels_of(claim), claim.get("spec") or {}
    is_copy = bool(spec.get("dataSource") or spec.get("dataSourceRef")) or any(RESTORED_BY in name for name in found)
    try:
        return Workspace(UUID(found[ENVIRONMENT]), found[SLUG], is_copy=is_copy)
    except (KeyError, ValueError):
        return None
