"""Environments of container images, from the order to the runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cmbcluster.db.models import Application
from cmbcluster.domain.actors import Actor
from cmbcluster.domain.images import ImageSource, PinnedImage
from cmbcluster.domain.lifecycle import Phase, Stage, StopReason
from cmbcluster.domain.orders import CustomOrder, LaunchOrder
from cmbcluster.domain.sources import PythonSource
from cmbcluster.domain.views import EnvironmentView
from cmbcluster.errors import Conflict, InvalidInput, RegistryUnavailable
from cmbcluster.images.port import ImageNotFound
from cmbcluster.runtime.port import Packages
from cmbcluster.services.contents import ImageRules
from tests.platform import Platform, open_platform

CUSTOM = CustomOrder(
    requirements="", python="", as_of="", command="", port="8888", health_path="/api", image="ghcr.io/team/app:1.0"
)


@pytest.fixture
async def ada(platform: Platform) -> Actor:
    return await platform.sign_in("ada")


async def launched(
    platform: Platform, actor: Actor, custom: CustomOrder = CUSTOM, name: str = "mine"
) -> EnvironmentView:
    return await platform.parts.environments.launch(actor, LaunchOrder("custom", name, "small", 3600, custom))


async def seen(platform: Platform, actor: Actor, view: EnvironmentView) -> EnvironmentView:
    await platform.settle()
    return await platform.parts.environments.get(actor, view.id)


def without_images(platform: Platform) -> None:
    """The services as over a runtime that runs no images."""
    rules = ImageRules(False, platform.parts.settings.image_registries)
    platform.parts.environments._images = platform.parts.catalogue._images = rules


async def test_an_image_is_pinned_shown_and_given_to_the_runtime(platform: Platform, ada: Actor) -> None:
    view = await launched(platform, ada)
    assert view.source == ImageSource("ghcr.io/team/app:1.0")
    assert view.image is None
    view = await seen(platform, ada, view)
    assert view.phase is Phase.RUNNING
    assert view.image is not None
    spec = platform.runtime.starts[0]
    assert spec.content == view.image == PinnedImage("ghcr.io/team/app", view.image.digest, 1200 * 1024**2)
    assert spec.program.command == ()
    assert (spec.program.port, spec.program.health_path, spec.pull_config) == (8888, "/api", "")
    resolving = next(stage for stage in view.stages if stage.stage is Stage.RESOLVING)
    assert resolving.detail == f"1.0 → {view.image.digest[:19]}, 1.3 GB"


async def test_stop_and_start_keep_the_digest_and_update_takes_the_newest(platform: Platform, ada: Actor) -> None:
    view = await seen(platform, ada, await launched(platform, ada))
    first = view.image
    platform.images.edition = 2
    environments = platform.parts.environments
    await environments.stop(ada, view.id)
    await platform.settle()
    await environments.start(ada, view.id)
    view = await seen(platform, ada, view)
    assert view.image == first
    assert len(platform.images.asked) == 1
    await environments.stop(ada, view.id)
    await platform.settle()
    await environments.update(ada, view.id)
    await environments.start(ada, view.id)
    view = await seen(platform, ada, view)
    assert view.phase is Phase.RUNNING
    assert view.image != first
    assert [spec.content == first for spec in platform.runtime.starts] == [True, True, False]


async def test_the_persons_account_asks_and_pulls(platform: Platform, ada: Actor) -> None:
    platform.images.private["ghcr.io"] = ("ada-l", "right")
    view = await seen(platform, ada, await launched(platform, ada))
    assert view.phase is Phase.FAILED
    assert view.reason is not None
    assert view.reason.code is StopReason.IMAGE_REFUSED
    assert "does not let us see team/app" in view.reason.what
    await platform.parts.registries.enter(ada, "ghcr.io", "ada-l", "right")
    await platform.parts.environments.start(ada, view.id)
    view = await seen(platform, ada, view)
    assert view.phase is Phase.RUNNING
    assert '"password": "right"' in platform.runtime.starts[0].pull_config
    assert "right" not in repr(platform.runtime.starts[0])
    # Removed at once: the next start pulls without it.
    account = (await platform.parts.registries.mine(ada))[0]
    await platform.parts.registries.remove(ada, account.id)
    await platform.parts.environments.stop(ada, view.id)
    await platform.settle()
    await platform.parts.environments.start(ada, view.id)
    await platform.settle()
    assert platform.runtime.starts[1].pull_config == ""


async def test_nobody_elses_account_is_used(platform: Platform, ada: Actor) -> None:
    ravi = await platform.sign_in("ravi")
    platform.images.private["ghcr.io"] = ("ravi", "right")
    await platform.parts.registries.enter(ravi, "ghcr.io", "ravi", "right")
    view = await seen(platform, ada, await launched(platform, ada))
    assert view.phase is Phase.FAILED
    assert platform.images.asked[0][1] is None


async def test_a_missing_image_fails_with_its_sentence(platform: Platform, ada: Actor) -> None:
    platform.images.fails_with = ImageNotFound("ghcr.io has no team/app:1.0.", "Check its name and its tag.")
    view = await seen(platform, ada, await launched(platform, ada))
    assert view.phase is Phase.FAILED
    assert view.reason is not None
    assert (view.reason.code, view.reason.what) == (StopReason.IMAGE_UNAVAILABLE, "ghcr.io has no team/app:1.0.")
    assert [stage.failed for stage in view.stages if stage.stage is Stage.RESOLVING] == [True]


async def test_a_silent_registry_is_asked_three_times(platform: Platform, ada: Actor) -> None:
    platform.images.fails_with = RegistryUnavailable("ghcr.io does not answer")
    view = await launched(platform, ada)
    failures = 0
    for _ in range(3):
        try:
            await platform.settle()
        except RegistryUnavailable:
            failures += 1
    view = await platform.parts.environments.get(ada, view.id)
    assert failures == 2
    assert view.phase is Phase.FAILED
    assert view.reason is not None
    assert view.reason.what == "The registry of its image did not answer."
    assert len(platform.images.asked) == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"image": "https://ghcr.io/team/app"}, "image"),
        ({"image": "elsewhere.example.org/team/app"}, "image"),
        ({"requirements": "numpy"}, "image"),
        ({"command": "a | b"}, "command"),
        ({"port": "80"}, "port"),
        ({"health_path": "x"}, "health_path"),
    ],
)
async def test_what_is_wrong_is_said_at_its_field(
    platform: Platform, ada: Actor, change: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await launched(platform, ada, replace(CUSTOM, **change))
    assert refused.value.field == field
    assert refused.value.then


async def test_a_command_of_ones_own(platform: Platform, ada: Actor) -> None:
    view = await launched(platform, ada, replace(CUSTOM, command="serve --port {port}"))
    assert view.program.command == ("serve", "--port", "{port}")


async def test_a_runtime_without_images_refuses_before_anything_is_kept(platform: Platform, ada: Actor) -> None:
    without_images(platform)
    application = await platform.parts.catalogue.application(ada, "custom")
    assert not application.takes_image
    with pytest.raises(InvalidInput, match="runs Python packages, not container images") as refused:
        await launched(platform, ada)
    assert refused.value.field == "image"
    assert (await platform.parts.environments.page(ada)).total == 0


async def test_what_was_made_of_an_image_does_not_start_where_none_run(platform: Platform, ada: Actor) -> None:
    view = await seen(platform, ada, await launched(platform, ada))
    await platform.parts.environments.stop(ada, view.id)
    await platform.settle()
    without_images(platform)
    with pytest.raises(Conflict, match="made of a container image"):
        await platform.parts.environments.start(ada, view.id)
    platform.parts.environments._images = ImageRules(True, ("quay.io",))
    with pytest.raises(Conflict, match="cannot be used here"):
        await platform.parts.environments.start(ada, view.id)


@pytest.fixture
async def catalogue(tmp_path: Path) -> AsyncIterator[Platform]:
    """A catalogue with an entry that has both, and one that is an image alone."""
    async with open_platform(tmp_path) as opened:
        async with opened.parts.database.transaction() as work:
            tiny = await work.applications.by_id("tiny")
            assert tiny is not None
            tiny.image = "ghcr.io/team/tiny:1"
            values = {name: getattr(tiny, name) for name in type(tiny).model_fields}
            work.applications.add(Application(**{**values, "id": "only", "name": "Only", "source": None}))
        yield opened


async def test_an_entry_with_both_runs_as_what_the_runtime_can(catalogue: Platform) -> None:
    ada = await catalogue.sign_in("ada")
    view = await catalogue.running(ada, "as-image")
    assert isinstance(catalogue.runtime.starts[0].content, PinnedImage)
    assert isinstance(view.source, ImageSource)
    await catalogue.parts.environments.stop(ada, view.id)
    await catalogue.settle()
    without_images(catalogue)
    view = await catalogue.running(ada, "as-packages")
    assert isinstance(catalogue.runtime.starts[1].content, Packages)
    assert isinstance(view.source, PythonSource)


async def test_an_entry_whose_image_is_not_allowed_runs_its_packages(catalogue: Platform) -> None:
    ada = await catalogue.sign_in("ada")
    catalogue.parts.environments._images = ImageRules(True, ("quay.io",))
    await catalogue.running(ada, "as-packages")
    assert isinstance(catalogue.runtime.starts[0].content, Packages)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (ImageRules(False, ("ghcr.io",)), "It is a container image. This platform runs Python packages"),
        (ImageRules(True, ("quay.io",)), "Images from ghcr.io are not allowed here."),
    ],
)
async def test_an_image_that_cannot_run_here_is_shown_with_the_reason(
    catalogue: Platform, rules: ImageRules, said: str
) -> None:
    ada = await catalogue.sign_in("ada")
    assert (await catalogue.parts.catalogue.application(ada, "only")).unavailable == ""
    catalogue.parts.environments._images = catalogue.parts.catalogue._images = rules
    assert (await catalogue.parts.catalogue.application(ada, "only")).unavailable.startswith(said)
    assert (await catalogue.parts.catalogue.application(ada, "tiny")).unavailable == ""
    with pytest.raises(Conflict) as refused:
        await catalogue.parts.environments.launch(ada, LaunchOrder("only", "x", "small", 3600))
    assert refused.value.what.startswith(said)


async def test_an_image_that_the_nodes_have_may_run_beside_those_of_registries(tmp_path: Path) -> None:
    async with open_platform(tmp_path, image_on_nodes=("localhost/*",)) as platform:
        actor = await platform.sign_in("ada")
        view = await launched(platform, actor, replace(CUSTOM, image="localhost/app"))
        assert view.source == ImageSource("localhost/app:latest")
        with pytest.raises(InvalidInput, match="cannot be used here"):
            await launched(platform, actor, replace(CUSTOM, image="localhost:5000/app"), name="other")


async def test_what_the_nodes_have_is_asked_for_anew_at_each_start(platform: Platform, ada: Actor) -> None:
    view = await seen(platform, ada, await launched(platform, ada))
    await platform.parts.environments.stop(ada, view.id)
    await platform.settle()
    async with platform.parts.database.transaction() as work:
        row = await work.environments.by_id(view.id)
        assert row is not None
        row.image = {"repository": "ghcr.io/team/app", "digest": "", "size_bytes": 0, "tag_on_nodes": "1.0"}
    await platform.parts.environments.start(ada, view.id)
    again = await seen(platform, ada, view)
    # The settings do not say any more that nodes have it, so a registry was asked.
    assert again.image is not None
    assert (again.image.tag_on_nodes, again.image.digest[:7]) == ("", "sha256:")
