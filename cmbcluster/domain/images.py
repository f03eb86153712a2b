"""Container images as people name them, and as they are pinned before anything starts.

A tag may move; what an environment runs is always a digest. Nothing here asks a registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ImageSource:
    """An image as it was asked for, such as ``docker.io/library/python:3.12``: with its registry, by tag or digest."""

    reference: str

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> ImageSource:
        """The source that ``dataclasses.asdict`` made ``kept`` from."""
        return cls(reference=str(kept["reference"]))


@dataclass(frozen=True)
class PinnedImage:
    """What a reference was resolved to: ``repository`` with its registry and no tag, and a digest.

    ``digest`` is that of the manifest or of the index over several platforms. ``size_bytes`` is the
    sum of the compressed layers for the platform it runs on.
    """

    repository: str
    digest: str
    size_bytes: int

    @property
    def address(self) -> str:
        """What a container runtime is told to pull."""
        return f"{self.repository}@{self.digest}"

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> PinnedImage:
        """The image that ``dataclasses.asdict`` made ``kept`` from."""
        return cls(str(kept["repository"]), str(kept["digest"]), int(kept["size_bytes"]))
