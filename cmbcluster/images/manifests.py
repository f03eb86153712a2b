"""What registries answer about an image, read with suspicion.

Pure: bytes in, facts out. Everything here was written by somebody else, so every field may
be missing, of another type, or absurd.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cmbcluster.images.port import NotAnImage, WrongPlatform

INDEXES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
MANIFESTS = frozenset(
    {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
)
ACCEPT = ", ".join(sorted(INDEXES | MANIFESTS))
CONFIGS = frozenset({"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"})
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LAYERS_LIMIT = 1000
SIZE_LIMIT_BYTES = 1 << 50
UNREADABLE = ("What the registry has under this name cannot be read.", "Choose another tag, or push the image again.")
CHART = ("This is not a container image, but something else that registries keep.", "Choose the name of an image.")
OLD = ("This image is in a format from before 2016.", "Push it again with today's tools, or choose another tag.")


@dataclass(frozen=True)
class Platform:
    """What machines an image is for."""

    os: str
    architecture: str

    @classmethod
    def of(cls, text: str) -> Platform:
        """``linux/amd64``."""
        os, _, architecture = text.partition("/")
        return cls(os, architecture)

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


@dataclass(frozen=True)
class Manifest:
    """An image for one platform."""

    config_digest: str
    size_bytes: int


def digest_of(body: bytes) -> str:
    """What the bytes are called."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


def kind_of(content_type: str, document: Mapping[str, Any]) -> str:
    """The media type: what the document says of itself, or else what the answer was called."""
    own = document.get("mediaType")
    return own if isinstance(own, str) else content_type.partition(";")[0].strip().lower()


def document_of(body: bytes) -> Mapping[str, Any]:
    """The JSON object in an answer; raises NotAnImage for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise NotAnImage(*UNREADABLE) from wrong
    if not isinstance(found, dict):
        raise NotAnImage(*UNREADABLE)
    return found


def chosen(index: Mapping[str, Any], wanted: Platform) -> str:
    """The digest of the manifest for a platform; raises WrongPlatform naming those there are."""
    there: list[str] = []
    for each in _list(index.get("manifests")):
        platform = each.get("platform") if isinstance(each, dict) else None
        if not isinstance(platform, dict):
            continue
        found = _platform(platform)
        if found == wanted and each.get("mediaType") in MANIFESTS | {None}:
            return _digest(each)
        # Signatures and build records stand in an index too, for no platform at all.
        if found is not None and found.os != "unknown":
            there.append(str(found))
    if not there:
        raise NotAnImage(*CHART)
    raise wrong_platform(wanted, there)


def wrong_platform(wanted: Platform, there: list[str]) -> WrongPlatform:
    """The error for an image that is made for other machines."""
    listed = ", ".join(sorted(set(there))[:6])
    return WrongPlatform(
        f"This image is not made for {wanted}, only for {listed}.", f"Choose a tag that is built for {wanted}."
    )


def manifest_of(kind: str, document: Mapping[str, Any]) -> Manifest:
    """The image that a manifest describes; raises NotAnImage for charts, signatures and nonsense."""
    if document.get("schemaVersion") == 1 or "docker.distribution.manifest.v1" in kind:
        raise NotAnImage(*OLD)
    config = document.get("config")
    if kind not in MANIFESTS or not isinstance(config, dict) or config.get("mediaType") not in CONFIGS:
        raise NotAnImage(*CHART)
    layers = _list(document.get("layers"))
    if not layers or len(layers) > LAYERS_LIMIT:
        raise NotAnImage(*UNREADABLE)
    size_bytes = sum(_size(each) for each in (config, *layers))
    if size_bytes > SIZE_LIMIT_BYTES:
        raise NotAnImage(*UNREADABLE)
    return Manifest(_digest(config), size_bytes)


def platform_of(config: Mapping[str, Any]) -> Platform | None:
    """What an image's own configuration says it is for, if it says so."""
    return _platform(config)


def _platform(found: Mapping[str, Any]) -> Platform | None:
    os, architecture = found.get("os"), found.get("architecture")
    if not isinstance(os, str) or not isinstance(architecture, str) or not os or not architecture:
        return None
    return Platform(os[:20], architecture[:20])


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _digest(found: Mapping[str, Any]) -> str:
    digest = found.get("digest")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise NotAnImage(*UNREADABLE)
    return digest


def _size(found: object) -> int:
    size = found.get("size") if isinstance(found, dict) else None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise NotAnImage(*UNREADABLE)
    return size
