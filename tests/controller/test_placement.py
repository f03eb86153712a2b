"""What the tier of an environment's owner says about where it may run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmbcluster.controller.placements import read_placements
from cmbcluster.errors import StartRefused
from cmbcluster.runtime.port import Placement, Toleration
from tests.platform import open_platform


@pytest.mark.parametrize(("person", "internet"), [("ada", False), ("elena", True)])
async def test_environments_of_an_offline_tier_are_started_without_the_internet(
    tmp_path: Path, database_url: str, person: str, internet: bool
) -> None:
    settings = {"database_url": database_url, "kubernetes_offline_tiers": ("free",)}
    async with open_platform(tmp_path, **settings) as platform:
        await platform.running(await platform.sign_in(person))
        assert [spec.placement.internet for spec in platform.runtime.starts] == [internet]


async def test_without_offline_tiers_everybody_has_it(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as platform:
        await platform.running(await platform.sign_in("ada"))
        assert [spec.placement.internet for spec in platform.runtime.starts] == [True]


WRITTEN = """
tiers:
  premium:
    node_selector: {pool: large}
    tolerations: [{key: dedicated, value: research, effect: NoSchedule}]
    priority_class: research
    storage_class: fast
applications:
  tiny:
    node_selector: {pool: gpu, zone: a}
    gpus: 1
    ephemeral_bytes: 1073741824
    root_is_writable: true
"""


async def test_an_application_says_more_than_a_tier(tmp_path: Path) -> None:
    path = tmp_path / "placement.yaml"
    path.write_text(WRITTEN, encoding="utf-8")
    async with open_platform(tmp_path, kubernetes_placement_file=path) as platform:
        await platform.running(await platform.sign_in("elena"))
        await platform.running(await platform.sign_in("ada"))
        premium, free = (spec.placement for spec in platform.runtime.starts)
    assert premium == Placement(
        node_selector=(("pool", "gpu"), ("zone", "a")),
        tolerations=(Toleration("dedicated", "research", "NoSchedule"),),
        gpus=1,
        priority_class="research",
        storage_class="fast",
        ephemeral_bytes=1024**3,
        root_is_writable=True,
    )
    assert (free.priority_class, free.tolerations, free.gpus) == ("", (), 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tiers: {gold: {}}", "tiers.gold"),
        ("applications: {tiny: {gpus: many}}", "applications.tiny.gpus"),
        ("applications: {tiny: {node_selector: {'a b': c}}}", "node_selector"),
        ("applications: {tiny: {nodes: 1}}", "applications.tiny.nodes"),
        ("tiers: [", "cannot be read"),
        ("- a", "the file"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "placement.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StartRefused, match=said) as refused:
        read_placements(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_missing_is_refused_and_an_empty_one_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="cannot be read"):
        read_placements(tmp_path / "nowhere.yaml")
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    assert read_placements(tmp_path / "empty.yaml").of("tiny", None) == Placement()
