"""What every resolver of images must do: the promises of ``images/port.py``."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Protocol

import pytest

from cmbcluster.domain.images import ImageSource
from cmbcluster.images.port import (
    Credentials,
    ImageNotAllowed,
    ImageNotFound,
    ImageResolver,
    NotAnImage,
    WrongPlatform,
)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Shelf(Protocol):
    """Where a test puts images."""

    def image(self, path: str, tag: str, text: str, architectures: tuple[str, ...]) -> None: ...

    def chart(self, path: str, tag: str) -> None: ...


@dataclass(frozen=True)
class Place:
    """A resolver, a registry that wants an account, and the account."""

    resolver: ImageResolver
    shelf: Shelf
    host: str
    account: Credentials


class ImageContract:
    """Subclasses give a fixture ``place``."""

    @pytest.fixture
    def place(self) -> Place:
        raise AssertionError("subclasses give it")

    @pytest.fixture
    def path(self) -> str:
        """A repository that nobody used before."""
        return f"team/app-{uuid.uuid4().hex[:8]}"

    async def test_a_tag_stands_for_a_digest_until_it_moves(self, place: Place, path: str) -> None:
        place.shelf.image(path, "1.0", "one", ("amd64",))
        source = ImageSource(f"{place.host}/{path}:1.0")
        first = await place.resolver.resolve(source, place.account)
        assert first.repository == f"{place.host}/{path}"
        assert DIGEST.fullmatch(first.digest)
        assert first.size_bytes > 0
        assert await place.resolver.resolve(source, place.account) == first
        place.shelf.image(path, "1.0", "two", ("amd64",))
        assert (await place.resolver.resolve(source, place.account)).digest != first.digest
        kept = ImageSource(f"{place.host}/{path}@{first.digest}")
        assert await place.resolver.resolve(kept, place.account) == first

    async def test_one_of_several_platforms(self, place: Place, path: str) -> None:
        place.shelf.image(path, "all", "many", ("arm64", "amd64"))
        found = await place.resolver.resolve(ImageSource(f"{place.host}/{path}:all"), place.account)
        assert DIGEST.fullmatch(found.digest)

    @pytest.mark.parametrize("architectures", [("arm64",), ("arm64", "s390x")])
    async def test_made_for_other_machines(self, place: Place, path: str, architectures: tuple[str, ...]) -> None:
        place.shelf.image(path, "arm", "arm", architectures)
        with pytest.raises(WrongPlatform, match="arm64") as wrong:
            await place.resolver.resolve(ImageSource(f"{place.host}/{path}:arm"), place.account)
        assert wrong.value.then

    async def test_missing(self, place: Place, path: str) -> None:
        place.shelf.image(path, "1.0", "one", ("amd64",))
        for reference in (f"{path}:2.0", f"{path}-not:1.0"):
            with pytest.raises(ImageNotFound) as missing:
                await place.resolver.resolve(ImageSource(f"{place.host}/{reference}"), place.account)
            assert missing.value.then

    async def test_closed_and_missing_look_alike_without_the_account(self, place: Place, path: str) -> None:
        place.shelf.image(path, "1.0", "one", ("amd64",))
        wrong = Credentials(place.host, place.account.username, "not-it")
        for account in (None, wrong):
            said = set()
            for tag in ("1.0", "2.0"):
                with pytest.raises(ImageNotAllowed) as refused:
                    await place.resolver.resolve(ImageSource(f"{place.host}/{path}:{tag}"), account)
                said.add(str(refused.value))
            assert len(said) == 1

    async def test_what_is_no_image(self, place: Place, path: str) -> None:
        place.shelf.chart(path, "chart")
        with pytest.raises(NotAnImage) as wrong:
            await place.resolver.resolve(ImageSource(f"{place.host}/{path}:chart"), place.account)
        assert wrong.value.then
