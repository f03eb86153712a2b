"""Images that the real cluster's machines cannot pull: what stood in the way is told, and no name is taken for it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from tests.install.people import write_certificate
from tests.kubernetes import registry
from tests.kubernetes.answering import LOCAL, answering
from tests.kubernetes.cluster import Admin, needs, opened, settings_for, spec_of, wanted
from tests.kubernetes.hopeless import given_up

pytestmark = pytest.mark.kubernetes
NO_DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
async def runtime(namespace: str) -> AsyncIterator[KubernetesRuntime]:
    """A runtime with a fiftieth of the usual patience."""
    async with opened(settings_for(namespace), patience=0.02) as runtime:
        yield runtime


async def words(
    runtime: KubernetesRuntime, admin: Admin, slug: str, repository: str, digest: str = NO_DIGEST, config: str = ""
) -> str:
    """What is said in the end of an image that cannot be had."""
    image = PinnedImage(repository, digest, 1)
    ending = (await given_up(runtime, admin, replace(spec_of(slug), content=image, pull_config=config))).ending
    assert ending is not None
    assert ending.reason is StopReason.IMAGE_UNAVAILABLE
    return ending.what


@pytest.mark.hopeless("image-unreachable")
@pytest.mark.parametrize("name", ["nobody/there", "team/denied", "not-found/x", "unauthorized"])
async def test_a_registry_that_does_not_answer(runtime: KubernetesRuntime, admin: Admin, name: str) -> None:
    """Whatever the image is called: its name is in all that the machine says."""
    said = await words(runtime, admin, f"no-registry-{name.replace('/', '-')}", f"127.0.0.1:9/{name}")
    assert said == "The image could not be pulled: its registry does not answer."


@pytest.mark.hopeless("image-registry-unnamed")
@pytest.mark.parametrize("host", ["no-such-registry", "unauthorized"])
async def test_a_registry_whose_name_nobody_knows(runtime: KubernetesRuntime, admin: Admin, host: str) -> None:
    said = await words(runtime, admin, f"no-host-{host}", f"{host}.invalid/team/not-found")
    assert said == "The machine chosen for it finds no registry by that name."


@pytest.mark.hopeless("image-too-often")
async def test_a_registry_that_is_asked_too_often(runtime: KubernetesRuntime, admin: Admin) -> None:
    with answering(LOCAL, 429) as host:
        said = await words(runtime, admin, "too-often", f"{host}/team/unauthorized")
    assert said == "The image's registry is asked too often, and answers nobody here for a while."


@pytest.mark.hopeless("image-registry-fails")
async def test_a_registry_with_an_error_of_its_own(runtime: KubernetesRuntime, admin: Admin) -> None:
    with answering(LOCAL, 503) as host:
        said = await words(runtime, admin, "fails", f"{host}/team/denied")
    assert said == "The image's registry answers with an error of its own."


@pytest.mark.hopeless("image-registry-insecure")
async def test_a_registry_without_encryption(runtime: KubernetesRuntime, admin: Admin) -> None:
    """The machine's own address is the only one at which it does without."""
    with answering(wanted("CMB_TEST_NODE_ADDRESS")) as host:
        said = await words(runtime, admin, "insecure-registry", f"{host}/team/denied")
    assert said == "The image's registry speaks without encryption, and the cluster's machines insist on it."


@pytest.mark.hopeless("image-registry-untrusted")
async def test_a_registry_that_shows_a_certificate_of_its_own(
    runtime: KubernetesRuntime, admin: Admin, tmp_path: Path
) -> None:
    address, certificate, key = wanted("CMB_TEST_NODE_ADDRESS"), tmp_path / "certificate", tmp_path / "key"
    write_certificate(address, certificate, key)
    with answering(address, tls=(certificate, key)) as host:
        said = await words(runtime, admin, "untrusted", f"{host}/team/not-found")
    assert said == "The cluster's machines do not trust the certificate of the image's registry."


@needs("CMB_TEST_REGISTRY_URL")
@pytest.mark.hopeless("image-other")
async def test_an_image_that_nobody_can_unpack(runtime: KubernetesRuntime, admin: Admin) -> None:
    # What a machine has unpacked once it does not unpack again, so that nobody may have had it.
    image = registry.Image(files={"own": secrets.token_bytes(8)}, spoiled=True)
    digest = registry.push("team/spoiled-denied", "amd64", image)
    repository, config = f"{registry.host()}/team/spoiled-denied", registry.pull_config()
    said = await words(runtime, admin, "spoiled", repository, digest, config)
    assert said == "The image could not be pulled."
