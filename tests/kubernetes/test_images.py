"""Images that cannot be pulled, from a real registry with passwords: missing, refused, for another processor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.port import Ending, Spec
from tests.kubernetes import registry
from tests.kubernetes.cluster import Admin, needs, opened, settings_for, spec_of
from tests.kubernetes.hopeless import given_up

pytestmark = [pytest.mark.kubernetes, needs("CMB_TEST_REGISTRY_URL")]


def image(slug: str, repository: str, digest: str, config: str) -> Spec:
    pinned = PinnedImage(f"{registry.host()}/{repository}", digest, 100)
    return replace(spec_of(slug), content=pinned, pull_config=config)


async def ending_of(namespace: str, admin: Admin, spec: Spec) -> Ending:
    async with opened(settings_for(namespace)) as runtime:
        ending = (await given_up(runtime, admin, spec, seconds=90)).ending
        assert ending is not None
        return ending


@pytest.mark.hopeless("image-unknown")
async def test_an_image_that_is_not_there(namespace: str, admin: Admin) -> None:
    spec = image("no-image", "team/nothing", "sha256:" + "ef" * 32, registry.pull_config())
    ending = await ending_of(namespace, admin, spec)
    assert (ending.reason, ending.what) == (StopReason.IMAGE_UNAVAILABLE, "The registry has no such image.")


@pytest.mark.hopeless("image-refused")
@pytest.mark.parametrize("config", ["", registry.PERSON[0]])
async def test_an_image_that_one_may_not_pull(namespace: str, admin: Admin, config: str) -> None:
    digest = registry.push("team/private", "amd64")
    wrong = registry.pull_config((config, "wrong")) if config else ""
    ending = await ending_of(
        namespace, admin, image(f"private{'-wrong' if config else ''}", "team/private", digest, wrong)
    )
    assert ending.reason is StopReason.IMAGE_REFUSED
    assert "does not let this platform pull" in ending.what


@pytest.mark.hopeless("image-platform")
async def test_an_image_for_another_processor(namespace: str, admin: Admin) -> None:
    digest = registry.push("team/arm", "arm64")
    ending = await ending_of(namespace, admin, image("arm", "team/arm", digest, registry.pull_config()))
    assert ending.reason is StopReason.IMAGE_PLATFORM


async def test_an_image_that_may_be_pulled_is(namespace: str, admin: Admin) -> None:
    """The made-up image holds no program, so that it is pulled is seen by what fails next."""
    digest = registry.push("team/open", "amd64")
    ending = await ending_of(namespace, admin, image("pulled", "team/open", digest, registry.pull_config()))
    assert ending.reason is StopReason.START_FAILED
    assert "“python” could not be started" in ending.what


async def test_an_image_that_only_the_node_has_runs_by_its_tag(namespace: str, admin: Admin) -> None:
    spec = replace(spec_of("on-node"), content=PinnedImage("localhost/busybox", "", 0, "test"))
    ending = await ending_of(namespace, admin, spec)
    # It was found, since what fails is the program that it has not.
    assert ending.reason is StopReason.START_FAILED
    assert "“python” could not be started" in ending.what


@pytest.mark.hopeless("image-not-on-machine")
async def test_an_image_that_the_node_was_to_have(namespace: str, admin: Admin) -> None:
    spec = replace(spec_of("off-node"), content=PinnedImage("localhost/busybox", "", 0, "not-there"))
    ending = await ending_of(namespace, admin, spec)
    assert ending.reason is StopReason.IMAGE_UNAVAILABLE
    assert ending.what == "The machine chosen for it does not have the image, and no registry is asked for it."
