"""How runs end on the real cluster: each in the words of its own rule."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import Lock, Program
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Ending, Sight, Spec
from tests.kubernetes import registry
from tests.kubernetes.cluster import PYTHON, Admin, end_all, needs, opened, program, settings_for, spec_of
from tests.kubernetes.hopeless import plant
from tests.runtime.place import MIB, python, until

pytestmark = pytest.mark.kubernetes
END_SECONDS = 60
# No index has it, and without a hash nobody would install it.
NOBODYS = Lock("made-up-to-fail==1\n", PYTHON, 1)


@pytest.fixture
async def runtime(namespace: str) -> AsyncIterator[KubernetesRuntime]:
    async with opened(settings_for(namespace)) as runtime:
        yield runtime


async def ending_of(runtime: KubernetesRuntime, admin: Admin, spec: Spec) -> Ending:
    """How it ends, which was not asked for."""
    await runtime.start(spec)
    seen = await until(runtime, spec.ref, Sight.EXITED, seconds=END_SECONDS)
    assert seen.ending is not None
    await end_all(runtime, admin, spec.ref)
    return seen.ending


@pytest.mark.ended("exited")
async def test_a_program_that_ends_with_words(runtime: KubernetesRuntime, admin: Admin) -> None:
    ending = await ending_of(runtime, admin, spec_of("says-it", python("print('no data'); raise SystemExit(3)")))
    assert (ending.reason, ending.what) == (
        StopReason.EXITED,
        "It ended by itself with exit code 3 before it answered.",
    )
    assert (ending.then, ending.log_tail.strip()) == ("See the last lines of its log.", "no data")


@pytest.mark.ended("exited-silently")
async def test_a_program_that_ends_without_words(runtime: KubernetesRuntime, admin: Admin) -> None:
    ending = await ending_of(runtime, admin, spec_of("silent", python("raise SystemExit(3)")))
    assert ending.reason is StopReason.EXITED
    assert ending.then == "It printed nothing. Check the start command."


@pytest.mark.ended("never-ready")
async def test_a_program_that_answers_nobody(runtime: KubernetesRuntime, admin: Admin) -> None:
    sleeps = program(*python("import time; time.sleep(100)"), ready_within_seconds=2)
    ending = await ending_of(runtime, admin, replace(spec_of("sleeps"), program=sleeps))
    assert ending.reason is StopReason.NEVER_READY
    assert ending.what == "It started, but nothing answered on port 8501 within 2 s."


@needs("CMB_TEST_REGISTRY_URL")
@pytest.mark.ended("program-platform")
async def test_a_program_of_another_processor(runtime: KubernetesRuntime, admin: Admin) -> None:
    digest = registry.push("team/foreign", "amd64", registry.Image(files={"foreign": b"\x7fnothing of ours"}))
    image = PinnedImage(f"{registry.host()}/team/foreign", digest, 100)
    spec = replace(spec_of("foreign"), content=image, pull_config=registry.pull_config())
    ending = await ending_of(runtime, admin, replace(spec, program=Program(("/foreign",), 8501)))
    assert ending.reason is StopReason.IMAGE_PLATFORM
    assert ending.what == "The image is made for another kind of processor than this cluster has."


@pytest.mark.ended("install-failed")
async def test_packages_that_cannot_be_installed(runtime: KubernetesRuntime, admin: Admin) -> None:
    ending = await ending_of(runtime, admin, spec_of("no-package", lock=NOBODYS))
    assert (ending.reason, ending.what) == (StopReason.BUILD_FAILED, "The packages could not be installed.")


@pytest.mark.ended("install-image")
async def test_an_image_of_the_platform_that_cannot_install(namespace: str, admin: Admin) -> None:
    async with opened(settings_for(namespace, workspace_image="localhost/busybox:test")) as runtime:
        ending = await ending_of(runtime, admin, spec_of("no-installer", lock=NOBODYS))
    assert (ending.reason, ending.what) == (
        StopReason.BUILD_FAILED,
        "The platform's image cannot install packages.",
    )


@pytest.mark.ended("install-memory")
async def test_an_installation_that_takes_too_much(runtime: KubernetesRuntime, admin: Admin) -> None:
    ending = await ending_of(runtime, admin, spec_of("hungry-install", lock=NOBODYS, memory_bytes=16 * MIB))
    assert (ending.reason, ending.what) == (
        StopReason.MEMORY,
        "Installing its packages took more than 16 MiB of memory.",
    )


@pytest.mark.ended("node-refused")
async def test_a_machine_that_refuses_what_was_chosen_for_it(runtime: KubernetesRuntime, admin: Admin) -> None:
    """As when the scheduler saw more room than there is: here nobody asks the scheduler."""
    (node,) = [
        each["metadata"]["name"]
        for each in ((await admin.cluster.get("/api/v1/nodes")) or {"items": []})["items"]
        if "kwok.x-k8s.io/node" not in (each["metadata"].get("annotations") or {})
    ]
    spec = spec_of("refused-there", memory_bytes=900 * 1024 * MIB)
    await plant(admin, spec, lambda pod: pod["spec"].update(nodeName=node))
    ending = await ending_of(runtime, admin, spec)
    assert (ending.reason, ending.what) == (
        StopReason.NO_ROOM,
        "The machine chosen for it refused it: OutOfmemory.",
    )


@pytest.mark.ended("taken-away")
async def test_what_somebody_deletes_in_the_cluster(runtime: KubernetesRuntime, admin: Admin) -> None:
    spec = spec_of("deleted")
    await runtime.start(spec)
    await until(runtime, spec.ref, Sight.RUNNING, seconds=END_SECONDS)
    await admin.delete_pod(spec.ref.slug)
    seen = await until(runtime, spec.ref, Sight.EXITED, seconds=END_SECONDS)
    assert seen.ending is not None
    assert (seen.ending.reason, seen.ending.what) == (StopReason.TAKEN_AWAY, "Somebody deleted it in the cluster.")
    await end_all(runtime, admin, spec.ref)
