"""The contract of the image resolver: a reference in, a digest out.

The control plane resolves once; every node then pulls the same bytes. A resolver must
never download an image, and never send credentials anywhere but to the registry they
belong to and to the token service it names.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Protocol

from cmbcluster.domain.images import DOCKER_HUB, ImageSource, PinnedImage
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.errors import BuildFailed

# The name under which Docker and Kubernetes look for an account at Docker Hub.
_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True)
class Credentials:
    """An account at one registry. ``secret`` is a password or a token."""

    registry: str
    username: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """What the header ``Authorization`` carries."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()

    def pull_config(self) -> str:
        """The text of a ``.dockerconfigjson`` with this account alone."""
        key = _HUB_KEY if self.registry == DOCKER_HUB else self.registry
        auth = self.basic.removeprefix("Basic ")
        return json.dumps({"auths": {key: {"username": self.username, "password": self.secret, "auth": auth}}})


@dataclass(frozen=True)
class PlatformAccount:
    """An account of the platform's own. ``rule`` says for which images, as in the allow-list."""

    rule: str
    username: str
    secret: str = field(repr=False)


class ImageFailed(BuildFailed):
    """An image that cannot be used, in words for whoever asked for it."""

    reason = StopReason.IMAGE_UNAVAILABLE


class ImageNotFound(ImageFailed):
    """The registry has no such name or tag."""


class ImageNotAllowed(ImageFailed):
    """The registry wants another account; it does not say whether the image exists."""

    reason = StopReason.IMAGE_REFUSED


class WrongPlatform(ImageFailed):
    """The image is made for other machines than these."""

    reason = StopReason.IMAGE_PLATFORM


class NotAnImage(ImageFailed):
    """What has this name cannot be run: a chart, a signature, or something that cannot be read."""


class RegistryBusy(ImageFailed):
    """The registry takes no more requests for a while."""


class RegistryRefused(ImageFailed):
    """The platform's own rules keep it from asking there."""

    reason = StopReason.IMAGE_REFUSED


class ImageResolver(Protocol):
    """Resolves references. Safe to call many times at once."""

    async def resolve(self, source: ImageSource, credentials: Credentials | None) -> PinnedImage:
        """What the reference stands for now, for the platform that environments run on.

        Raises ImageFailed (one of its kinds, a BuildFailed) for what the person or an
        operator can mend, and RegistryUnavailable when the registry does not answer.
        """
