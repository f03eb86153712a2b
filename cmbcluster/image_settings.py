"""The settings about container images and their registries.

A part of ``Settings``, which reads them; must never import another of ours but ``errors``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::\d{{1,5}})?")
_RULE = re.compile(rf"{_HOST.pattern}(?:/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)?(?:/\*)?")
# Written with commas, as a person writes them.
Hosts = Annotated[tuple[str, ...], NoDecode]


class ImageSettings(BaseSettings):
    """Which images may run, and how their registries are asked."""

    image_registries: Hosts = Field(
        ("docker.io", "ghcr.io", "quay.io"),
        description="Where images may come from, with commas: registries, such as ghcr.io or "
        "registry.example.org:5000, or parts of one, such as ghcr.io/team/*.",
    )
    image_internal_registries: Hosts = Field(
        (),
        description="Registries and token services whose addresses may be private, with commas; all others must be on "
        "the internet.",
    )
    image_http_registries: Hosts = Field(
        (), description="Registries and token services that are asked without TLS, with commas."
    )
    image_sign_in_hosts: Hosts = Field(
        ("auth.docker.io", "gitlab.com"),
        description="Token services that may get the accounts of registries which send people there, with commas; a "
        "registry that is its own need not be listed.",
    )
    image_on_nodes: Hosts = Field(
        (),
        description="Images that are on every node already and are looked up nowhere, with commas, such as localhost/* "
        "or ghcr.io/team/built. They run by their tag, whatever the node has under it.",
    )
    image_platform: str = Field(
        "linux/amd64",
        pattern=r"^[a-z0-9]{1,20}/[a-z0-9]{1,20}$",
        description="Machines that images must be made for, such as linux/arm64.",
    )
    registry_credentials_file: Path | None = Field(
        None,
        description="A .dockerconfigjson with the platform's own accounts at registries, for everybody's launches.",
    )
    sealing_keys_file: Path | None = Field(
        None,
        description="The keys that encrypt people's accounts at registries; empty means keys/secrets.json in the data "
        "folder. All replicas need the same.",
    )

    @property
    def usable_images(self) -> tuple[str, ...]:
        """The rules of all images that may run, from registries and on the nodes."""
        return (*self.image_registries, *self.image_on_nodes)

    @field_validator(
        "image_registries",
        "image_internal_registries",
        "image_http_registries",
        "image_sign_in_hosts",
        "image_on_nodes",
        mode="before",
    )
    @classmethod
    def _with_commas(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("image_registries", "image_on_nodes")
    @classmethod
    def _rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not _RULE.fullmatch(word):
                raise ValueError(f"“{word}” is not a registry. Write it like ghcr.io, or ghcr.io/team/*.")
        return value

    @field_validator("image_internal_registries", "image_http_registries", "image_sign_in_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not _HOST.fullmatch(word):
                raise ValueError(f"“{word}” is not a host. Write it like auth.example.org, or registry:5000.")
        return value
