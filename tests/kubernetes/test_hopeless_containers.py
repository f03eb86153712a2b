"""Launches whose image, container or pod the real cluster does not take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Program
from cmbcluster.runtime.kubernetes.names import secret_name
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Ending, Placement, Spec
from tests.kubernetes import registry
from tests.kubernetes.cluster import Admin, admin_of, needs, opened, settings_for, spec_of
from tests.kubernetes.hopeless import ask_differently, given_up, plant
from tests.runtime.place import MIB, python

pytestmark = pytest.mark.kubernetes


@pytest.fixture
async def runtime(namespace: str) -> AsyncIterator[KubernetesRuntime]:
    """A runtime with a fiftieth of the usual patience."""
    async with opened(settings_for(namespace), patience=0.02) as runtime:
        yield runtime


async def ending_of(runtime: KubernetesRuntime, admin: Admin, spec: Spec) -> Ending:
    ending = (await given_up(runtime, admin, spec)).ending
    assert ending is not None
    return ending


def image_of_nobody(slug: str) -> Spec:
    """An image that names neither an account nor a command."""
    pinned = PinnedImage(f"{registry.host()}/team/open", registry.push("team/open", "amd64"), 100)
    return replace(spec_of(slug), content=pinned, pull_config=registry.pull_config())


@pytest.mark.hopeless("image-unnamed")
async def test_an_image_whose_name_is_none(runtime: KubernetesRuntime, admin: Admin) -> None:
    image = PinnedImage("registry.invalid/Team/Upper", "sha256:" + "ab" * 32, 1)
    ending = await ending_of(runtime, admin, replace(spec_of("unnamed"), content=image))
    assert (ending.reason, ending.what) == (
        StopReason.IMAGE_UNAVAILABLE,
        "The image has no name that could be pulled.",
    )


@needs("CMB_TEST_REGISTRY_URL")
@pytest.mark.hopeless("image-no-space")
async def test_an_image_that_the_machine_has_no_space_for(runtime: KubernetesRuntime, admin: Admin) -> None:
    """The disk itself says it: a file's attributes have one block of it, and these are larger."""
    digest = registry.push("team/too-large", "amd64", registry.Image(attributes={"user.large": "x" * 20_000}))
    pinned = PinnedImage(f"{registry.host()}/team/too-large", digest, 100)
    spec = replace(spec_of("no-space"), content=pinned, pull_config=registry.pull_config())
    ending = await ending_of(runtime, admin, spec)
    assert ending.reason is StopReason.DISK_FULL
    assert ending.what == "The machine chosen for it has no space left for the image."


@needs("CMB_TEST_REGISTRY_URL")
@pytest.mark.hopeless("container-no-command")
async def test_an_image_that_says_nothing_to_start(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = replace(image_of_nobody("no-words"), program=Program((), 8501))
    ending = await ending_of(runtime, admin, spec)
    assert ending.reason is StopReason.START_FAILED
    assert ending.what == "The image does not say what is to be started."


@needs("CMB_TEST_REGISTRY_URL")
@pytest.mark.hopeless("container-root")
async def test_an_image_that_wants_to_be_root_where_nothing_makes_it_somebody_else(
    runtime: KubernetesRuntime, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We name an account, so that such an image runs as that one; a cluster may take the account away again."""

    def without_account(pod: dict[str, Any]) -> None:
        del pod["spec"]["securityContext"]["runAsUser"], pod["spec"]["securityContext"]["runAsGroup"]

    ask_differently(monkeypatch, without_account)
    ending = await ending_of(runtime, admin, image_of_nobody("wants-root"))
    assert ending.reason is StopReason.REFUSED
    assert ending.what == "The image wants to run as the administrator, which is not allowed here."


@pytest.mark.hopeless("machine-fails")
async def test_a_pod_that_its_machine_cannot_prepare(runtime: KubernetesRuntime, admin: Admin) -> None:
    """The node says so in an event alone: the container's state goes on being created."""
    spec = spec_of("no-sandbox")
    # A group without an account is more than the container's runtime knows how to make.
    await plant(admin, spec, lambda pod: pod["spec"]["securityContext"].pop("runAsUser"))
    ending = await ending_of(runtime, admin, spec)
    assert (ending.reason, ending.what) == (
        StopReason.START_FAILED,
        "The machine chosen for it could not prepare it.",
    )


@pytest.mark.hopeless("container-secret")
async def test_variables_that_are_deleted_before_it_starts(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = spec_of("no-secret", variables={"KEY": "value"})
    await plant(admin, spec)
    ending = await ending_of(runtime, admin, spec)
    assert ending.reason is StopReason.START_FAILED
    assert ending.what == "Its variables were deleted in the cluster before it had started."


@pytest.mark.hopeless("container-other")
async def test_a_container_that_cannot_be_made_for_another_reason(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = spec_of("other-secret", variables={"KEY": "value"})
    name = secret_name(spec.ref)
    await admin.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}})
    await plant(admin, spec)
    ending = await ending_of(runtime, admin, spec)
    assert (ending.reason, ending.what) == (
        StopReason.START_FAILED,
        "The machine chosen for it could not start it.",
    )
    assert "couldn't find key" in ending.log_tail
    await admin.cluster.delete(f"{admin.base}/secrets/{name}")


@pytest.mark.ended("own-storage")
async def test_more_than_it_may_write_outside_of_its_workspace(runtime: KubernetesRuntime, admin: Admin) -> None:
    """The kubelet looks every ten seconds, and on a busy machine later; until then nobody minds that it is silent."""
    writes = python("open('/tmp/large', 'wb').write(b'x' * 40 * 2**20); import time; time.sleep(300)")
    spec = replace(spec_of("writes", writes), placement=Placement(ephemeral_bytes=32 * MIB))
    patient = replace(spec, program=replace(spec.program, ready_within_seconds=120))
    ending = (await given_up(runtime, admin, patient, seconds=110)).ending
    assert ending is not None
    assert ending.reason is StopReason.DISK_FULL
    assert ending.what == "It wrote more outside of its workspace than it may, and was stopped."


@pytest.mark.hopeless("pod-security")
async def test_a_pod_that_pod_security_refuses(
    runtime: KubernetesRuntime, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of ours is refused, unless the cluster is stricter than we know."""
    ask_differently(monkeypatch, lambda pod: pod["spec"].update(hostNetwork=True))
    ending = await ending_of(runtime, admin, spec_of("insecure"))
    assert (ending.reason, ending.what) == (StopReason.REFUSED, "The cluster's security rules do not allow it.")


@pytest.mark.hopeless("no-service-account")
async def test_a_namespace_without_a_service_account(
    runtime: KubernetesRuntime, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster makes the usual one again at once, so that this asks for another."""
    ask_differently(monkeypatch, lambda pod: pod["spec"].update(serviceAccountName="nobody"))
    ending = await ending_of(runtime, admin, spec_of("no-account"))
    assert ending.reason is StopReason.REFUSED
    assert ending.what == "The cluster's namespace of environments has no service account."


@pytest.mark.hopeless("refused")
async def test_what_is_refused_in_words_that_nobody_knows(own_namespace: str) -> None:
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "even"},
        "spec": {"limits": [{"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}]},
    }
    async with admin_of(own_namespace) as admin, opened(settings_for(own_namespace)) as runtime:
        await admin.create("limitranges", limits)
        ending = await ending_of(runtime, admin, spec_of("uneven"))
    assert (ending.reason, ending.what) == (StopReason.REFUSED, "The cluster refused it.")
    assert "ratio" in ending.log_tail
