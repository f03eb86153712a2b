"""Container images as people name them, and as they are pinned before anything starts.

A tag may move; what an environment runs is always a digest. Nothing here asks a registry,
and nothing that passed ``check_image`` can lead anywhere but to the registry it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cmbcluster.errors import InvalidInput

KIND = "image"  # what ``kind`` says where a source is kept
DOCKER_HUB = "docker.io"
USUAL_TAG = "latest"
REFERENCE_LIMIT = 500  # of what is typed, before anything is taken apart
NAME_LIMIT = 255  # of a name with its registry, as the registries have it
EXAMPLE = "Write it like python:3.12, or ghcr.io/team/app:1.0."

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::\d{{1,5}})?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class ImageSource:
    """An image as it was asked for, such as ``docker.io/library/python:3.12``: with its registry, by tag or digest."""

    reference: str

    @property
    def registry(self) -> str:
        """The host, with its port if it has one."""
        return self.reference.partition("/")[0]

    @property
    def repository(self) -> str:
        """Registry and path, without tag and digest."""
        registry, _, rest = self.reference.partition("/")
        return f"{registry}/{rest.partition('@')[0].partition(':')[0]}"

    @property
    def path(self) -> str:
        """The name within the registry."""
        return self.repository.partition("/")[2]

    @property
    def tag(self) -> str:
        """The tag, or empty where a digest is named."""
        return self.reference.partition("/")[2].partition("@")[0].partition(":")[2]

    @property
    def digest(self) -> str:
        """The digest, or empty where a tag is named."""
        return self.reference.partition("@")[2]

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> ImageSource:
        """The source that ``as_dict`` made ``kept`` from."""
        return cls(reference=str(kept["reference"]))

    def as_dict(self) -> dict[str, Any]:
        """What is kept of it; ``kind`` tells it from a source of packages."""
        return {"kind": KIND, "reference": self.reference}


@dataclass(frozen=True)
class PinnedImage:
    """What a reference was resolved to: ``repository`` with its registry and no tag, and a digest.

    ``digest`` is that of the manifest or of the index over several platforms. ``size_bytes`` is the
    sum of the compressed layers for the platform it runs on. An image that the nodes have already has
    a ``tag_on_nodes`` instead, no digest, and no known size: it is what each node has by that tag.
    """

    repository: str
    digest: str
    size_bytes: int
    tag_on_nodes: str = ""

    @property
    def address(self) -> str:
        """What a container runtime is told to pull, or to find."""
        if self.tag_on_nodes:
            return f"{self.repository}:{self.tag_on_nodes}"
        return f"{self.repository}@{self.digest}"

    @property
    def size_words(self) -> str:
        """``1.2 GB`` or ``340 MB``, counted as registries do; empty where it is not known."""
        if not self.size_bytes:
            return ""
        if self.size_bytes >= 1000**3:
            return f"{self.size_bytes / 1000**3:.1f} GB"
        return f"{max(1, round(self.size_bytes / 1000**2))} MB"

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> PinnedImage:
        """The image that ``dataclasses.asdict`` made ``kept`` from."""
        tag_on_nodes = str(kept.get("tag_on_nodes", ""))
        return cls(str(kept["repository"]), str(kept["digest"]), int(kept["size_bytes"]), tag_on_nodes)


def check_image(text: str) -> ImageSource:
    """The image that ``text`` names, in full: ``python`` is ``docker.io/library/python:latest``.

    The rules are those of Docker, except that only sha256 digests are taken and that a tag
    beside a digest, which says nothing, is dropped. Raises InvalidInput (field ``image``).
    """
    name, digest = _without_digest(_plain(text))
    registry, path = _without_registry(name)
    path, tag = _without_tag(path)
    if path != path.lower():
        raise InvalidInput(
            "image", "The name of an image has no capital letters.", f"Write {_shown(path.lower())} instead."
        )
    if not _PATH.fullmatch(path):
        raise InvalidInput("image", "That is not the name of an image.", EXAMPLE)
    if registry == DOCKER_HUB and "/" not in path:
        if _IDENTIFIER.fullmatch(path):
            raise InvalidInput("image", "That is the id of an image, not its name.", EXAMPLE)
        path = f"library/{path}"
    if len(registry) + 1 + len(path) > NAME_LIMIT:
        raise InvalidInput("image", "That name is too long.", f"A registry takes at most {NAME_LIMIT} characters.")
    end = f"@{digest}" if digest else f":{tag or USUAL_TAG}"
    return ImageSource(f"{registry}/{path}{end}")


def check_registry(text: str, field: str = "registry") -> str:
    """A registry's host as it stands in references; raises InvalidInput."""
    host = text.strip().lower()
    scheme = _SCHEME.match(host)
    # Docker's own tools call the Hub by this address.
    host = host[scheme.end() :].partition("/")[0] if scheme else host.rstrip("/")
    host = DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else host
    if len(host) > NAME_LIMIT or not _HOST.fullmatch(host) or not _is_host(host) or not _port_fits(host):
        raise InvalidInput(field, "That is not the host of a registry.", "Write it like ghcr.io or localhost:5000.")
    return host


def _plain(text: str) -> str:
    """What was typed without the spaces around it, if it can be a reference at all."""
    plain = text.strip()
    if not plain:
        raise InvalidInput("image", "There is no image.", EXAMPLE)
    if len(plain) > REFERENCE_LIMIT:
        raise InvalidInput("image", "That is too long for an image.", f"Use at most {REFERENCE_LIMIT} characters.")
    scheme = _SCHEME.match(plain)
    if scheme:
        raise InvalidInput("image", f"An image is named without {scheme.group()}", EXAMPLE)
    if any(not char.isprintable() for char in plain):
        raise InvalidInput("image", "There are invisible characters in it.", "Type it again. " + EXAMPLE)
    if any(char.isspace() for char in plain):
        raise InvalidInput("image", "There is a space in it.", "Write the name of the image alone. " + EXAMPLE)
    if not plain.isascii():
        raise InvalidInput("image", "The name of an image has plain letters and digits only.", EXAMPLE)
    return plain


def _without_digest(text: str) -> tuple[str, str]:
    name, at, digest = text.partition("@")
    if not at:
        return name, ""
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput(
            "image", "That is not a digest.", "A digest is sha256: and 64 of the characters 0 to 9 and a to f."
        )
    return name, digest


def _without_registry(name: str) -> tuple[str, str]:
    """Registry and the rest, by Docker's rule: the first part is a host if it looks like one."""
    first, slash, rest = name.partition("/")
    if not slash or not _is_host(first):
        return DOCKER_HUB, name
    return check_registry(first, "image"), rest


def _without_tag(path: str) -> tuple[str, str]:
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidInput(
            "image", "That is not a tag.", "A tag has up to 128 letters, digits, dots, dashes and underscores."
        )
    return path, tag


def _is_host(first: str) -> bool:
    return "." in first or ":" in first or first.lower() == "localhost"


def _port_fits(host: str) -> bool:
    _, colon, port = host.partition(":")
    return not colon or 1 <= int(port) <= 65535


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


# ---- which images may be used ----


def check_rule(text: str) -> str:
    """A word of an allow-list: a registry, a repository, or a name with ``/*`` behind it.

    Raises InvalidInput (field ``registry``) for anything else, so that a slip of the pen
    never allows more, or nothing at all.
    """
    host, slash, path = text.strip().partition("/")
    host = check_registry(host)
    if not slash or path == "*":
        return host
    bare = path.removesuffix("/*")
    if not _PATH.fullmatch(bare):
        raise InvalidInput("registry", "That is not a registry.", "Write it like ghcr.io, or ghcr.io/team/*.")
    return f"{host}/{path}"


def matches(rule: str, repository: str) -> bool:
    """Whether a rule of ``check_rule`` covers a repository."""
    if "/" not in rule:
        return repository.partition("/")[0] == rule
    if rule.endswith("/*"):
        return repository.startswith(rule[:-1])
    return repository == rule


def check_allowed(source: ImageSource, rules: Sequence[str]) -> None:
    """Raises InvalidInput (field ``image``) when no rule covers the image."""
    if any(matches(rule, source.repository) for rule in rules):
        return
    if not rules:
        raise InvalidInput("image", "No registry is allowed here.", "Ask whoever runs the platform.")
    listed = ", ".join(rules[:-1]) + " or " + rules[-1] if len(rules) > 1 else rules[0]
    raise InvalidInput(
        "image", f"Images from {source.repository} cannot be used here.", f"Use one from {_listed(listed)}."
    )


def _listed(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "…"
