"""Images that every node has: which names are taken for them, and that no registry hears of those."""

from __future__ import annotations

import pytest

from cmbcluster.domain.images import ImageSource, PinnedImage, check_image
from cmbcluster.images.on_nodes import OnNodesFirst
from cmbcluster.images.port import Credentials, NotAnImage

ELSEWHERE = PinnedImage("ghcr.io/team/app", "sha256:" + "ab" * 32, 1000)


class Registries:
    """Notes who is asked about."""

    def __init__(self) -> None:
        self.asked: list[ImageSource] = []

    async def resolve(self, source: ImageSource, _credentials: Credentials | None) -> PinnedImage:
        self.asked.append(source)
        return ELSEWHERE


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("localhost/app:1.0", "localhost/app:1.0"),
        ("localhost/team/app", "localhost/team/app:latest"),
        ("ghcr.io/team/built:2", "ghcr.io/team/built:2"),
    ],
)
async def test_an_image_of_the_nodes_is_known_by_its_tag_and_looked_up_nowhere(typed: str, address: str) -> None:
    registries = Registries()
    found = await OnNodesFirst(("localhost/*", "ghcr.io/team/built"), registries).resolve(check_image(typed), None)
    assert (found.address, found.digest, found.size_words) == (address, "", "")
    assert PinnedImage.from_dict(vars(found)) == found
    assert registries.asked == []


@pytest.mark.parametrize("typed", ["localhost:5000/app", "ghcr.io/team/built-not", "ghcr.io/team/app", "app"])
async def test_every_other_image_is_looked_up(typed: str) -> None:
    registries = Registries()
    found = await OnNodesFirst(("localhost/*", "ghcr.io/team/built"), registries).resolve(check_image(typed), None)
    assert found is ELSEWHERE
    assert registries.asked == [check_image(typed)]


async def test_an_image_of_the_nodes_has_no_digest_to_be_named_by() -> None:
    source = ImageSource("localhost/app@sha256:" + "cd" * 32)
    with pytest.raises(NotAnImage, match="known by their tags"):
        await OnNodesFirst(("localhost/*",), Registries()).resolve(source, None)
