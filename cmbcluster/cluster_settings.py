"""The settings of environments that run as pods of a Kubernetes cluster.

A part of ``Settings``, which reads them; must never import another of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

# Written with commas, as a person writes them.
Tiers = Annotated[tuple[Literal["free", "premium"], ...], NoDecode]


class ClusterSettings(BaseSettings):
    """Where pods are made, on what, and how much they may hold."""

    instance: str = Field(
        "cmbcluster",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$",
        description="Name of this platform in the cluster; two platforms that share a namespace need different ones.",
    )
    kubernetes_namespace: str = Field(
        "cmbcluster-envs",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Namespace of the environments.",
    )
    kubernetes_context: str = Field(
        "", description="Context of the kubeconfig; empty means its current one. Not used inside a cluster."
    )
    kubernetes_storage_class: str = Field(
        "", description="Storage class of workspaces; empty means the cluster's usual one."
    )
    kubernetes_packages_bytes: int = Field(
        50 * 1024**3, ge=1024**3, description="Size of the volume of installed packages that environments share."
    )
    kubernetes_packages_access: Literal["ReadWriteOnce", "ReadWriteMany", "None"] = Field(
        "ReadWriteOnce",
        description="Access mode of that volume. ReadWriteOnce is for a single node, ReadWriteMany for several; None "
        "is for several nodes without such a class: nothing is shared, and each environment installs for itself.",
    )
    kubernetes_own_packages_bytes: int = Field(
        8 * 1024**3,
        ge=256 * 1024**2,
        description="With access None: most that an environment's own packages may take on its machine, which must "
        "have as much free for each, in bytes.",
    )
    kubernetes_packages_class: str = Field(
        "", description="Storage class of that volume; empty means the cluster's usual one."
    )
    kubernetes_ephemeral_bytes: int = Field(
        4 * 1024**3, ge=128 * 1024**2, description="Most an environment may write outside of its workspace, in bytes."
    )
    kubernetes_cpu_request_percent: int = Field(
        25,
        ge=1,
        le=100,
        description="Part of an environment's processors that a machine must have free for it, in percent; it may use "
        "all of them while others do not.",
    )
    kubernetes_memory_request_percent: int = Field(
        100,
        ge=1,
        le=100,
        description="The same of an environment's memory. Less than all of it puts more environments on a machine, "
        "which ends some of them when they need at once what it does not have.",
    )
    kubernetes_stop_grace_seconds: int = Field(
        10, ge=1, le=300, description="Time an application in a cluster has to end by itself before it is ended."
    )
    kubernetes_offline_tiers: Tiers = Field(
        (),
        description="Tiers, with commas, whose environments get the label that the chart's network rules take the "
        "internet away by.",
    )
    kubernetes_placement_file: Path | None = Field(
        None,
        description="A file that says on which machines and with what environments run, by tier and by application, as "
        "docs/kubernetes.md shows.",
    )
    workspace_image: str = Field(
        "", description="Image with Python and uv that Python packages are installed on and run from, in a cluster."
    )
    workspace_python: str = Field(
        "3.12", pattern=r"^3\.\d{1,2}$", description="Python version of that image, such as 3.12."
    )
    package_index_url: str = Field(
        "",
        description="Index of Python packages for a cluster, for locks and for pods; empty means uv's usual one.",
    )

    @field_validator("kubernetes_offline_tiers", mode="before")
    @classmethod
    def _tiers_with_commas(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value
