"""Images that every node has already, such as those that were built and loaded by hand.

No registry knows them, so nothing is asked and there is no digest to keep: what runs is what
a node has under the tag. Which names may be used so is the operator's word alone, for it
gives whoever launches what is on the nodes without asking a registry whether they may.
"""

from __future__ import annotations

from collections.abc import Sequence

from cmbcluster.domain.images import ImageSource, PinnedImage, matches
from cmbcluster.images.port import Credentials, ImageResolver, NotAnImage


class OnNodesFirst:
    """ImageResolver that answers for the names of ``rules`` itself, and asks ``others`` about the rest."""

    def __init__(self, rules: Sequence[str], others: ImageResolver) -> None:
        self._rules = tuple(rules)
        self._others = others

    async def resolve(self, source: ImageSource, credentials: Credentials | None) -> PinnedImage:
        """What the reference stands for now; raises NotAnImage for a digest of an image on the nodes."""
        if not any(matches(rule, source.repository) for rule in self._rules):
            return await self._others.resolve(source, credentials)
        if not source.tag:
            raise NotAnImage(
                f"{source.repository} is on the machines themselves, where images are known by their tags.",
                "Name a tag instead of a digest.",
            )
        return PinnedImage(source.repository, "", 0, tag_on_nodes=source.tag)
