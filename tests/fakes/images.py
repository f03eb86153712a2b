"""A resolver of images in memory, with a registry of its own that tests fill.

It keeps the promises of the port, and must never touch the network.
"""

from __future__ import annotations

import asyncio
import hashlib

from cmbcluster.domain.images import ImageSource, PinnedImage
from cmbcluster.images.port import (
    Credentials,
    ImageNotAllowed,
    ImageNotFound,
    NotAnImage,
    WrongPlatform,
)

MIB = 1024**2


class FakeImages:
    """ImageResolver over a dictionary.

    Any reference resolves to a digest made from it and from ``edition``, unless ``strict``
    is set: then only what was ``put`` is there. ``private`` holds accounts of registries
    that want one. ``fails_with`` is raised when set; ``asked`` lists what was asked.
    """

    def __init__(self, *, seconds: float = 0.0, strict: bool = False) -> None:
        self.seconds = seconds
        self.strict = strict
        self.edition = 1
        self.fails_with: Exception | None = None
        self.asked: list[tuple[ImageSource, Credentials | None]] = []
        self.private: dict[str, tuple[str, str]] = {}
        self.kept: dict[str, str] = {}
        self.platforms: dict[str, tuple[str, ...]] = {}

    def put(self, reference: str, text: str, platforms: tuple[str, ...] = ("linux/amd64",)) -> None:
        """Keep an image under a reference; its digest follows from ``text`` and ``platforms``."""
        digest = "sha256:" + hashlib.sha256(f"{text} {platforms}".encode()).hexdigest()
        repository = ImageSource(reference).repository
        self.kept[reference] = self.kept[f"{repository}@{digest}"] = digest
        self.platforms[digest] = platforms

    async def resolve(self, source: ImageSource, credentials: Credentials | None) -> PinnedImage:
        """What the reference stands for now."""
        self.asked.append((source, credentials))
        await asyncio.sleep(self.seconds)
        if self.fails_with is not None:
            raise self.fails_with
        account = self.private.get(source.registry)
        given = (credentials.username, credentials.secret) if credentials else None
        if account is not None and given != account:
            raise ImageNotAllowed(f"{source.registry} does not let us see {source.path}.", "Check its name.")
        digest = self.kept.get(source.reference)
        if digest is None:
            if self.strict:
                raise ImageNotFound(f"{source.registry} has no {source.path}.", "Check its name and its tag.")
            mark = hashlib.sha256(f"{source.reference} {self.edition}".encode()).hexdigest()
            digest = source.digest or f"sha256:{mark}"
        platforms = self.platforms.get(digest, ("linux/amd64",))
        if not platforms:
            raise NotAnImage("This is not a container image.", "Choose the name of an image.")
        if "linux/amd64" not in platforms:
            raise WrongPlatform(f"This image is only for {', '.join(platforms)}.", "Choose another tag.")
        return PinnedImage(source.repository, digest, 1200 * MIB)
