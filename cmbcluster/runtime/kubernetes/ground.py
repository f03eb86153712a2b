"""What the settings say about every environment and about what environments share."""

from __future__ import annotations

from cmbcluster.runtime.kubernetes import packages
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Json, Place
from cmbcluster.settings import Settings


def ground_of(settings: Settings) -> Ground:
    """The ground that every environment stands on."""
    is_own = settings.kubernetes_packages_access == packages.NO_CLAIM
    return Ground(
        place=Place(settings.kubernetes_namespace, settings.instance),
        workspace_image=settings.workspace_image,
        index_url=settings.package_index_url,
        storage_class=settings.kubernetes_storage_class,
        ephemeral_bytes=settings.kubernetes_ephemeral_bytes,
        own_packages_bytes=settings.kubernetes_own_packages_bytes if is_own else 0,
        grace_seconds=settings.kubernetes_stop_grace_seconds,
        cpu_request_percent=settings.kubernetes_cpu_request_percent,
        memory_request_percent=settings.kubernetes_memory_request_percent,
    )


def shared_claim_of(settings: Settings, place: Place) -> Json | None:
    """The claim of packages that environments share; None where each installs for itself."""
    if settings.kubernetes_packages_access == packages.NO_CLAIM:
        return None
    return packages.shared_claim(
        place,
        settings.kubernetes_packages_bytes,
        settings.kubernetes_packages_access,
        settings.kubernetes_packages_class,
    )
