"""Every right that the chart gives a role is needed: without it, something that the role does fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from cmbcluster.domain.sources import Lock
from cmbcluster.errors import RuntimeUnavailable
from cmbcluster.runtime.kubernetes import manifests, names, packages
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Json, Place
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.kubernetes.watching import Rhythm
from cmbcluster.runtime.port import Ending, Packages, Sight, Spec
from tests.contracts.runtime_contract import collect
from tests.kubernetes.cluster import PYTHON, Admin, end_all, opened, settings_for, spec_of, until_true, wanted
from tests.kubernetes.rights import ROLES, Right, configured, connecting, rights_of_chart

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]
SOON_SECONDS = 5.0
UNUSED_SECONDS = 0.2
# What is refused is not asked for again while a test looks.
ONCE = Rhythm(first_pause_seconds=60.0, longest_pause_seconds=60.0)
END_SECONDS = 30.0
GIB = 1024**3
FIGURES = (
    r"It asks for 900 GiB of memory\. "
    r"The roomiest machine has at most [\d.]+ [GM]iB free, so [\d.]+ GiB are missing\."
)
CLAIMS, METRICS = "persistentvolumeclaims", "pods.metrics.k8s.io"


@dataclass
class Planted:
    """What is on the cluster: a pod that finds no machine, a workspace alone, nothing, maybe a pod that runs."""

    admin: Admin
    name: str
    caplog: pytest.LogCaptureFixture
    there: Spec
    bare: Spec
    fresh: Spec
    running: Spec

    @property
    def ground(self) -> Ground:
        """Where everything is put."""
        place = Place(self.admin.namespace, settings_for(self.admin.namespace).instance)
        return Ground(place, wanted("CMB_TEST_WORKSPACE_IMAGE"))

    async def plant(self, *, running: bool) -> None:
        """Put it there as an administrator."""
        for spec in (self.there, self.running) if running else (self.there,):
            claim = await self.admin.create(CLAIMS, manifests.claim(self.ground, spec))
            await self.admin.create("secrets", manifests.secret(self.ground, spec, names.uid_of(claim)))
            pod = manifests.pod(self.ground, spec, None)
            if spec is self.there:
                pod["spec"]["nodeSelector"] = {"nobody": "has-this"}
            await self.admin.create("pods", pod)
        await self.admin.create(CLAIMS, manifests.claim(self.ground, self.bare))

    async def says(self, reason: str, message: str) -> Json:
        """An event about the pod that finds no machine; the pod."""
        pod = await self.admin.pod(self.there.ref.slug)
        assert pod is not None
        about = {"kind": "Pod", "namespace": self.admin.namespace}
        about |= {"name": pod["metadata"]["name"], "uid": names.uid_of(pod)}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {"metadata": {"generateName": "said-"}, "involvedObject": about, "type": "Normal"}
        event |= {"reason": reason, "message": message, "firstTimestamp": now, "lastTimestamp": now}
        await self.admin.create("events", event)
        return pod


async def follows(runtime: KubernetesRuntime, _: Planted) -> None:
    """It hears of what pods there are."""
    await until_true(lambda: runtime._pods is not None and runtime._pods.heard_at, SOON_SECONDS)


async def hears(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It hears what is said of a pod from now on."""
    await asyncio.sleep(1.0)
    pod = await planted.says("Pulling", 'Pulling image "somewhere/app:1"')
    await until_true(lambda: runtime._happenings.pull(pod), SOON_SECONDS)


async def clears(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It deletes a list of packages that nothing needs."""
    content = planted.fresh.content
    assert isinstance(content, Packages)
    bundle = packages.bundle_of(content, wanted("CMB_TEST_WORKSPACE_IMAGE"))
    if bundle.name not in await planted.admin.names("configmaps"):
        await planted.admin.create("configmaps", packages.config_map(planted.ground.place, bundle))
    await until_true(lambda: runtime._pods is not None and runtime._pods.heard_at, SOON_SECONDS)
    give_up_at = asyncio.get_running_loop().time() + SOON_SECONDS
    while bundle.name in await planted.admin.names("configmaps"):
        assert asyncio.get_running_loop().time() < give_up_at, "it is still there"
        await runtime.clear_unused()
        await asyncio.sleep(UNUSED_SECONDS)


async def knows_workspaces(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It finds the workspace that has nothing else."""
    assert planted.bare.ref.slug in {each.slug for each in await runtime.workspaces()}


async def reads_output(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It reads what a program wrote."""
    assert await collect(runtime.logs(planted.running.ref, offset=0, follow=False))


async def measures(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It may ask what a pod uses, whether that is known yet or not."""
    planted.caplog.clear()
    assert await runtime.usage(planted.running.ref) is not None
    assert "usage was not measured" not in planted.caplog.text


async def starts(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It makes all that a launch makes."""
    await runtime.start(planted.fresh)


async def stops(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It writes down how a run ended, and ends it."""
    await runtime.stop(planted.there.ref)


async def removes(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It deletes an environment with its workspace."""
    await runtime.remove(planted.bare.ref, workspace=True)


async def looks_at_a_run(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It sees a pod."""
    assert (await runtime.look(planted.there.ref)).sight in (Sight.BUILDING, Sight.STARTING)


async def looks_at_what_ended(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It looks for what is remembered of a run without a pod."""
    assert await collect(runtime.logs(planted.bare.ref, offset=0, follow=False)) == []


async def is_given_up(runtime: KubernetesRuntime, planted: Planted) -> Ending:
    """How a launch ends that asks for more memory than any machine has."""
    spec = replace(planted.fresh, memory_bytes=900 * GIB)
    await runtime.start(spec)
    # Only now, so that nothing else that is planted is given up.
    runtime._patience = 0.0

    async def ended() -> Ending | None:
        return (await runtime.look(spec.ref)).ending

    ending: Ending = await until_true(ended, END_SECONDS)
    await end_all(runtime, planted.admin, spec.ref)
    return ending


async def says_what_is_missing(runtime: KubernetesRuntime, planted: Planted) -> None:
    """It says by how much a launch is too large, and what would fit."""
    ending = await is_given_up(runtime, planted)
    assert re.fullmatch(FIGURES, ending.what)
    assert re.fullmatch(
        r"Choose a size with at most [\d.]+ [GM]iB of memory, or stop another environment\.", ending.then
    )


Operation = Callable[[KubernetesRuntime, Planted], Awaitable[None]]
# The cheapest thing a role does that needs the right.
NEEDED_FOR: dict[str, dict[Right, Operation]] = {
    "controller": {
        ("pods", "get"): looks_at_a_run,
        ("pods", "list"): follows,
        ("pods", "watch"): follows,
        ("pods", "create"): starts,
        ("pods", "delete"): stops,
        ("pods/log", "get"): reads_output,
        ("events", "list"): hears,
        ("events", "watch"): hears,
        (CLAIMS, "get"): looks_at_what_ended,
        (CLAIMS, "list"): knows_workspaces,
        (CLAIMS, "create"): starts,
        (CLAIMS, "patch"): stops,
        (CLAIMS, "delete"): removes,
        ("secrets", "get"): removes,
        ("secrets", "create"): starts,
        ("secrets", "delete"): stops,
        ("configmaps", "get"): starts,
        ("configmaps", "list"): clears,
        ("configmaps", "create"): starts,
        ("configmaps", "delete"): clears,
        ("nodes", "list"): says_what_is_missing,
    },
    "web": {
        ("pods", "get"): reads_output,
        ("pods/log", "get"): reads_output,
        (CLAIMS, "get"): looks_at_what_ended,
        (METRICS, "get"): measures,
    },
}
RUNS = (reads_output, measures)
EACH = [(role, right) for role, needed in NEEDED_FOR.items() for right in needed]


def test_every_right_of_the_chart_is_tried() -> None:
    assert {role: set(needed) for role, needed in NEEDED_FOR.items()} == rights_of_chart()


@asynccontextmanager
async def acting(admin: Admin, name: str, role: str, rights: Iterable[Right]) -> AsyncIterator[KubernetesRuntime]:
    """The runtime as that role has it, with these rights; only the controller follows."""
    connect = connecting(await configured(admin, name, rights))
    settings = settings_for(admin.namespace)
    runtime = KubernetesRuntime(settings, connect=connect, rhythm=ONCE, unused_seconds=UNUSED_SECONDS)
    await runtime.open(follow=role == ROLES[0])
    try:
        yield runtime
    finally:
        await runtime.close()


@pytest.mark.parametrize(("role", "right"), EACH, ids=["-".join((role, *right)) for role, right in EACH])
async def test_without_a_right_something_fails(
    namespace: str, admin: Admin, caplog: pytest.LogCaptureFixture, role: str, right: Right
) -> None:
    caplog.set_level("INFO")
    operation, rights = NEEDED_FOR[role][right], rights_of_chart()
    name = f"r{EACH.index((role, right))}"
    there, bare, running = (spec_of(f"{word}-{name}", variables={"KEY": "v"}) for word in ("there", "bare", "runs"))
    fresh = spec_of(f"fresh-{name}", variables={"KEY": "v"}, lock=Lock(f"made-up-{name}==1\n", PYTHON, 1))
    planted = Planted(admin, name, caplog, there, bare, fresh, running)
    await planted.plant(running=operation in RUNS)
    try:
        if operation in RUNS:
            await until_true(lambda: _has_said_something(admin, running))
        async with acting(admin, f"no-{name}", role, rights[role] - {right}) as runtime:
            with pytest.raises((RuntimeUnavailable, AssertionError, TimeoutError)) as failed:
                await operation(runtime, planted)
            if failed.type is RuntimeUnavailable:
                assert f"cannot {right[1]} resource" in str(failed.value)
        async with acting(admin, f"all-{name}", role, rights[role]) as runtime:
            await operation(runtime, planted)
    finally:
        async with opened(settings_for(namespace)) as runtime:
            await end_all(runtime, admin, *(each.ref for each in (there, bare, fresh, running)))


async def _has_said_something(admin: Admin, spec: Spec) -> bool:
    """Whether a pod's program runs and has printed a line."""
    pod = await admin.pod(spec.ref.slug)
    if pod is None or pod["status"]["phase"] != "Running":
        return False
    path = f"/api/v1/namespaces/{admin.namespace}/pods/{pod['metadata']['name']}/log"
    async with admin.cluster.stream(path, {"container": manifests.PROGRAM}, SOON_SECONDS) as lines:
        return bool([line async for line in lines])


@pytest.mark.hopeless("short-of")
async def test_the_charts_controller_says_what_is_missing_and_without_nodes_that_there_is_no_room(
    own_namespace: str, own_admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    there, bare, running = (spec_of(word) for word in ("there", "bare", "runs"))
    rights = rights_of_chart()["controller"]
    for name, given in (("all", rights), ("no-nodes", rights - {("nodes", "list")})):
        planted = Planted(own_admin, name, caplog, there, bare, spec_of(f"too-large-{name}"), running)
        async with acting(own_admin, name, "controller", given) as runtime:
            ending = await is_given_up(runtime, planted)
        if given == rights:
            assert re.fullmatch(FIGURES, ending.what)
        else:
            assert ending.what == "No machine of the cluster has enough memory free."
        assert "Insufficient memory" in ending.log_tail
