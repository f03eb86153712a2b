"""Packages of a lock in pods: from an index once, then from the volume, and never writable where programs run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cmbcluster.domain.lifecycle import Stage
from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.runtime.kubernetes import names, status
from cmbcluster.runtime.kubernetes.emptying import KEY_BEGINNING
from cmbcluster.runtime.port import Packages, Ref, Sight, Spec
from tests.kubernetes.cluster import PYTHON, Admin, end_all, opened, program, settings_for, spec_of, until_true, wanted
from tests.runtime.place import python, until

pytestmark = [pytest.mark.kubernetes, pytest.mark.index]
SERVES_WHAT_IT_SEES = """
import http.server, json, os, pathlib, sys
import idna
seen = {"file": idna.__file__, "uid": os.getuid(), "token": os.path.exists("/var/run/secrets"),
        "settings": sorted(os.listdir(sys.argv[3]))}
for name, place in (("packages", pathlib.Path(idna.__file__).parent), ("root", pathlib.Path("/etc")),
                    ("workspace", pathlib.Path("/workspace")), ("tmp", pathlib.Path("/tmp"))):
    try:
        (place / "mine").write_text("x"); seen[name] = "written"
    except OSError as refused:
        seen[name] = refused.strerror
print(json.dumps(seen), flush=True)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> Lock:
    """A lock as the control plane resolves it."""
    folder = tmp_path_factory.mktemp("lock")
    (folder / "in").write_text("idna\nsix\n")
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
    done = subprocess.run(
        [*command, "--python-version", PYTHON, "in"], cwd=folder, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return Lock(done.stdout, PYTHON, 2)


def with_packages(slug: str, lock: Lock) -> Spec:
    made = spec_of(slug, python(SERVES_WHAT_IT_SEES, "{address}", "{port}", "{bundled}"), lock=lock)
    content = Packages(PythonSource(("idna", "six"), PYTHON, bundled="jupyterlab"), lock)
    return Spec(**{**made.__dict__, "content": content})


async def test_the_first_installs_for_all_and_the_next_finds_it(
    namespace: str, admin: Admin, index_url: str, lock: Lock
) -> None:
    async with opened(settings_for(namespace, package_index_url=index_url)) as runtime:
        both = [with_packages("cold-one", lock), with_packages("cold-two", lock)]
        await asyncio.gather(*(runtime.start(spec) for spec in both))
        for spec in both:
            seen = await until(runtime, spec.ref, Sight.RUNNING, Sight.EXITED, seconds=120)
            assert seen.sight is Sight.RUNNING, seen.ending
            marks = {mark.stage: mark for mark in seen.stages}
            assert (marks[Stage.INSTALLING].done, marks[Stage.INSTALLING].total) == (2, 2)
        pods = [await admin.pod(spec.ref.slug) for spec in both]
        # Together they installed once: one of them found it done.
        assert sorted(status.told_by_installer(pod)["cached"] for pod in pods if pod) == [False, True]

        lines = [line.text async for line in runtime.logs(both[0].ref, offset=0, follow=False)]
        told = json.loads(lines[0])
        assert told["file"].startswith("/packages/builds/")
        assert told["settings"] == ["jupyter_server_config.json", "labconfig"]
        assert told["uid"] == 1000
        assert not told["token"]
        assert told["packages"] == told["root"] == "Read-only file system"
        assert told["workspace"] == told["tmp"] == "written"

        warm = with_packages("warm", lock)
        began = time.monotonic()
        await runtime.start(warm)
        await until(runtime, warm.ref, Sight.RUNNING, Sight.EXITED, seconds=60)
        print(f"running {time.monotonic() - began:.1f} s after start on a warm volume")
        pod = await admin.pod("warm")
        assert pod is not None
        assert "initContainers" not in pod["spec"]
        assert await runtime.workspace_bytes(both[0].ref) == 0

        other = spec_of("beside", lock=Lock("made-up-beside==1\n", PYTHON, 1))
        await runtime.start(other)
        installs = await admin.pod("beside")
        assert installs is not None
        (told_of,) = [
            each["value"] for each in installs["spec"]["initContainers"][0]["env"] if each["name"] == "CMB_NEEDED"
        ]
        key = pod["metadata"]["annotations"][names.PACKAGES]
        assert f"{key[:KEY_BEGINNING]}:0" in told_of.split(), "it must not remove what others run from"
        await end_all(runtime, admin, other.ref, warm.ref, *(spec.ref for spec in both))


@pytest.mark.ended("packages-gone")
async def test_packages_that_vanished_are_installed_anew(
    namespace: str, admin: Admin, index_url: str, lock: Lock
) -> None:
    empties = python("import os, sys; print(os.listdir(sys.argv[1]))", "{bundled}")
    async with opened(settings_for(namespace, package_index_url=index_url)) as runtime:
        first = with_packages("vanishing", lock)
        await runtime.start(first)
        await until(runtime, first.ref, Sight.RUNNING, Sight.EXITED, seconds=120)
        await end_all(runtime, admin, first.ref)
        await run_in_volume(admin, "rm -rf /packages/builds/*")
        second = Spec(**{**with_packages("vanished", lock).__dict__, "program": program("{python}", *empties[1:])})
        await runtime.start(second)
        seen = await until(runtime, second.ref, Sight.EXITED, seconds=60)
        assert seen.ending is not None
        assert seen.ending.what == "Its packages are not in the cluster's volume any more."
        third = Spec(
            **{**with_packages("vanished", lock).__dict__, "ref": Ref(second.ref.environment_id, "vanished", 2)}
        )
        await runtime.start(third)
        assert (await until(runtime, third.ref, Sight.RUNNING, Sight.EXITED, seconds=120)).sight is Sight.RUNNING
        await end_all(runtime, admin, third.ref)


async def test_without_a_volume_for_all_each_installs_into_one_of_its_own(
    own_namespace: str, own_admin: Admin, index_url: str, lock: Lock
) -> None:
    admin = own_admin
    changes = {"kubernetes_packages_access": "None", "kubernetes_own_packages_bytes": 1024**3}
    async with opened(settings_for(own_namespace, package_index_url=index_url, **changes)) as runtime:
        specs = [with_packages("own-one", lock), with_packages("own-two", lock)]
        for spec in specs:
            # The second comes when the first runs, and would install nothing where they share a volume.
            await runtime.start(spec)
            seen = await until(runtime, spec.ref, Sight.RUNNING, Sight.EXITED, seconds=120)
            assert seen.sight is Sight.RUNNING, seen.ending
            pod = await admin.pod(spec.ref.slug)
            assert pod is not None
            assert status.told_by_installer(pod)["cached"] is False
            lines = [line.text async for line in runtime.logs(spec.ref, offset=0, follow=False)]
            told = json.loads(lines[0])
            assert told["file"].startswith("/packages/builds/")
            assert told["packages"] == told["root"] == "Read-only file system"
            assert told["workspace"] == told["tmp"] == "written"
        assert await admin.names("persistentvolumeclaims") == {"workspace-own-one", "workspace-own-two"}
        await end_all(runtime, admin, *(spec.ref for spec in specs))


@pytest.mark.ended("own-packages")
async def test_own_packages_that_take_more_than_they_may_end_the_launch_in_words(
    own_namespace: str, own_admin: Admin, index_url: str, lock: Lock
) -> None:
    settings = settings_for(own_namespace, package_index_url=index_url, kubernetes_packages_access="None")
    # No setting allows so little, which spares the test a large download.
    settings = settings.model_copy(update={"kubernetes_own_packages_bytes": 256 * 1024})
    async with opened(settings) as runtime:
        spec = with_packages("own-large", lock)
        await runtime.start(spec)
        seen = await until(runtime, spec.ref, Sight.EXITED, seconds=180)
        assert seen.ending is not None
        assert seen.ending.what == "Its packages take more than the 256 KiB that they may take here."
        await end_all(runtime, own_admin, spec.ref)


async def run_in_volume(admin: Admin, command: str) -> None:
    """Meddle with the volume of packages."""
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "meddle",
                "image": wanted("CMB_TEST_WORKSPACE_IMAGE"),
                "command": ["sh", "-c", command],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "packages", "mountPath": "/packages"}],
            }
        ],
        "volumes": [{"name": "packages", "persistentVolumeClaim": {"claimName": "cmbcluster-packages"}}],
    }
    await admin.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "meddle"}, "spec": spec})

    async def is_done() -> bool:
        pod = await admin.cluster.get(f"{admin.base}/pods/meddle")
        return pod is not None and pod["status"]["phase"] == "Succeeded"

    await until_true(is_done)
    await admin.cluster.delete(f"{admin.base}/pods/meddle")


async def test_usage_is_measured_by_the_cluster(namespace: str, admin: Admin) -> None:
    async with opened(settings_for(namespace)) as runtime:
        spec = spec_of("measured")
        await runtime.start(spec)
        await until(runtime, spec.ref, Sight.RUNNING, seconds=60)

        async def is_measured() -> bool:
            usage = await runtime.usage(spec.ref)
            return usage is not None and bool(usage.memory_bytes)

        await until_true(is_measured, 60)
        usage = await runtime.usage(spec.ref)
        assert usage is not None
        assert usage.memory_bytes is not None
        assert 2**20 < usage.memory_bytes < 128 * 2**20
        assert usage.cpu_millis is not None
        await end_all(runtime, admin, spec.ref)
