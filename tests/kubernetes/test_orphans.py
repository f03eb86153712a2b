"""What is in the cluster without a row, a row without its pod, and what is not ours at all (F24)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from structlog.typing import EventDict

from cmbcluster.domain.actors import Tier
from cmbcluster.domain.lifecycle import Phase, StopReason
from cmbcluster.errors import Conflict
from cmbcluster.runtime.kubernetes import manifests, memory, names
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Place
from cmbcluster.runtime.port import Ending, Spec
from tests.faults.replicas import order, people
from tests.kubernetes.cluster import Admin, end_all, opened, settings_for, spec_of, until_true, wanted
from tests.kubernetes.whole import CPU_MILLIS, whole
from tests.runtime.place import MIB, python

pytestmark = pytest.mark.kubernetes
GRACE_SECONDS = 6.0
SECRET = {"KEY": "hunter2"}
LASTS = python("import time; time.sleep(600)")
ENDS = python("pass")
KINDS = ("pods", "secrets", "configmaps", "persistentvolumeclaims")


def ground(namespace: str) -> Ground:
    return Ground(Place(namespace, settings_for(namespace).instance), wanted("CMB_TEST_WORKSPACE_IMAGE"))


def unknown(slug: str, command: tuple[str, ...] = LASTS, **changes: Any) -> Spec:
    """An environment of which no database knows."""
    made = spec_of(slug, command, environment_id=uuid4(), variables=SECRET, **changes)
    return replace(made, cpu_millis=CPU_MILLIS, memory_bytes=64 * MIB)


async def plant(admin: Admin, spec: Spec, *, pod: bool, run: int = 1, ended: tuple[int, ...] = ()) -> None:
    """What a launch makes, whole or as far as its secret, with the endings of earlier runs."""
    place = ground(admin.namespace)
    claim = manifests.claim(place, spec)
    for each in ended:
        note = memory.note({}, each, Ending(StopReason.ASKED, "It was stopped.", "", ended_at=datetime.now(UTC)))
        kept = {name: text for name, text in note["metadata"]["annotations"].items() if text is not None}
        claim["metadata"].setdefault("annotations", {}).update(kept)
    made = await admin.create("persistentvolumeclaims", claim)
    of_run = replace(spec, ref=replace(spec.ref, generation=run))
    await admin.create("secrets", manifests.secret(place, of_run, names.uid_of(made)))
    if pod:
        body = manifests.pod(place, of_run, None)
        body["spec"]["containers"][0]["command"] = ["python3", *spec.program.command[1:]]
        await admin.create("pods", body)


def foreign(kind: str, name: str) -> dict[str, Any]:
    """Somebody else's object that has a name of ours and no label."""
    body: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    if kind == "Pod":
        body["spec"] = manifests.pod(ground("x"), unknown("x"), None)["spec"]
        body["spec"]["volumes"] = [{"name": each["name"], "emptyDir": {}} for each in body["spec"]["volumes"]]
        body["spec"]["containers"][0] |= {"command": ["python3", *LASTS[1:]], "env": []}
        body["spec"]["containers"][0].pop("startupProbe")
    if kind == "PersistentVolumeClaim":
        body["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return body


def told(lines: list[EventDict], event: str) -> set[str]:
    return {line["environment"] for line in lines if line["event"] == event}


async def test_f24_orphans_are_cleared_away_after_a_grace_and_workspaces_are_reported(
    namespace: str, admin: Admin, tmp_path: Path
) -> None:
    live, over, half = unknown("orphan-live"), unknown("orphan-over", ENDS), unknown("orphan-half")
    await plant(admin, live, pod=True)
    await plant(admin, over, pod=True)
    # Its launch died between the secret and the pod, after two runs that were stopped.
    await plant(admin, half, pod=False, run=4, ended=(2, 3))
    strangers = {"pods": "Pod", "secrets": "Secret", "configmaps": "ConfigMap"}
    for kind, name in strangers.items():
        await admin.create(kind, foreign(name, "env-orphan-stranger"))
    await admin.create("persistentvolumeclaims", foreign("PersistentVolumeClaim", "workspace-orphan-stranger"))
    # The name of a secret that is looked for, and somebody else's.
    await admin.create("secrets", foreign("Secret", names.secret_name(replace(half.ref, generation=2))))

    async def runs_and_ended() -> bool:
        pods = [await admin.pod(each.ref.slug) for each in (live, over)]
        return [pod["status"]["phase"] for pod in pods if pod is not None] == ["Running", "Succeeded"]

    await until_true(runs_and_ended, 120)
    before = {kind: await admin.names(kind) for kind in KINDS}
    began = time.monotonic()
    with structlog.testing.capture_logs() as lines:
        async with whole(namespace, tmp_path, orphan_grace_seconds=GRACE_SECONDS) as platform:
            while time.monotonic() - began < GRACE_SECONDS:
                assert await admin.names("pods") == before["pods"]
                assert await admin.names("secrets") == before["secrets"]
                await asyncio.sleep(0.5)
            (ada,) = await people(platform.parts.database, 1)
            known = await platform.running(ada, "known")

            async def cleared() -> bool:
                found = await admin.names("pods")
                return not {"env-orphan-live", "env-orphan-over"} & found

            await until_true(cleared, 60)
            left = {"env-orphan-live-1", "env-orphan-over-1", "env-orphan-half-4"}

            async def secrets_cleared() -> bool:
                return not left & await admin.names("secrets")

            await until_true(secrets_cleared, 60)
            await until_true(lambda: len(told(lines, "orphan_workspace_kept")) == 3, 60)
            print(f"cleared away {time.monotonic() - began:.1f} s after the start")
            after = {kind: await admin.names(kind) for kind in KINDS}
            assert (await platform.parts.environments.get(ada, known.id)).phase is Phase.RUNNING
            await end_all(platform.runtime, admin, await platform.ref(known))
    mine = {f"env-{known.slug}", f"env-{known.slug}-1", f"workspace-{known.slug}"}
    gone = {kind: before[kind] - after[kind] for kind in KINDS}
    assert gone == {
        "pods": {"env-orphan-live", "env-orphan-over"},
        "secrets": left,
        "configmaps": set(),
        "persistentvolumeclaims": set(),
    }
    assert {name for kind in KINDS for name in after[kind] - before[kind] if "orphan" in name} <= mine
    assert told(lines, "orphan_stopped") == {"orphan-live"}
    assert told(lines, "orphan_removed") == {"orphan-live", "orphan-over"}
    assert told(lines, "orphan_workspace_kept") == {"orphan-live", "orphan-over", "orphan-half"}
    assert not told(lines, "orphan_stays")


async def test_f24_nothing_is_touched_before_the_grace(namespace: str, admin: Admin, tmp_path: Path) -> None:
    live, half = unknown("patient-live"), unknown("patient-half")
    await plant(admin, live, pod=True)
    await plant(admin, half, pod=False)
    with structlog.testing.capture_logs() as lines:
        async with whole(namespace, tmp_path, orphan_grace_seconds=600, sweep_seconds=0.2):
            await asyncio.sleep(5)
    assert not [line for line in lines if line["event"].startswith("orphan")]
    pod = await admin.pod("patient-live")
    assert pod is not None
    assert not pod["metadata"].get("deletionTimestamp")
    assert {"env-patient-live-1", "env-patient-half-1"} <= await admin.names("secrets")
    async with opened(settings_for(namespace)) as runtime:
        await end_all(runtime, admin, live.ref, half.ref)


async def test_f24_the_collector_takes_a_secret_whose_workspace_is_gone(namespace: str, admin: Admin) -> None:
    half = unknown("collected")
    await plant(admin, half, pod=False)
    assert "env-collected-1" in await admin.names("secrets")
    await admin.cluster.delete(f"{admin.base}/persistentvolumeclaims/workspace-collected")

    async def is_collected() -> bool:
        return "env-collected-1" not in await admin.names("secrets")

    await until_true(is_collected, 60)


async def test_f24_a_row_whose_pod_vanished_while_nobody_looked(namespace: str, admin: Admin, tmp_path: Path) -> None:
    async with whole(namespace, tmp_path) as platform:
        (ada,) = await people(platform.parts.database, 1, Tier.PREMIUM)
        lost, kept = await platform.running(ada, "lost"), await platform.running(ada, "kept")
        uid = names.uid_of(await admin.pod(kept.slug) or {})
    await admin.delete_pod(lost.slug)

    async def is_gone() -> bool:
        return await admin.pod(lost.slug) is None

    await until_true(is_gone)
    async with whole(namespace, tmp_path) as platform:
        found = await platform.reach(ada, lost, Phase.FAILED, Phase.STOPPED)
        assert found.phase is Phase.FAILED
        assert found.reason is not None
        assert found.reason.code == StopReason.LOST
        assert (await platform.parts.environments.get(ada, kept.id)).phase is Phase.RUNNING
        assert names.uid_of(await admin.pod(kept.slug) or {}) == uid
        await platform.parts.environments.start(ada, lost.id)
        assert (await platform.reach(ada, lost, Phase.RUNNING, Phase.FAILED)).phase is Phase.RUNNING
        await end_all(platform.runtime, admin, await platform.ref(lost), await platform.ref(kept))


async def test_f24_the_secret_of_a_run_whose_pod_was_taken_goes_with_the_next_start(
    namespace: str, admin: Admin
) -> None:
    async with opened(settings_for(namespace)) as runtime:
        spec = unknown("robbed")
        await runtime.start(spec)
        await admin.delete_pod("robbed")

        async def is_gone() -> bool:
            return await admin.pod("robbed") is None

        await until_true(is_gone)
        assert "env-robbed-1" in await admin.names("secrets")
        following = replace(spec, ref=replace(spec.ref, generation=2))
        await runtime.start(following)
        assert {name for name in await admin.names("secrets") if "robbed" in name} == {"env-robbed-2"}
        await end_all(runtime, admin, following.ref)


async def test_f24_the_secret_of_a_launch_that_came_no_further_goes_with_its_stop(namespace: str, admin: Admin) -> None:
    async with opened(settings_for(namespace)) as runtime:
        half = unknown("half-made")
        await plant(admin, half, pod=False)
        await runtime.stop(replace(half.ref, generation=2))
        assert "env-half-made-1" in await admin.names("secrets")
        await runtime.stop(half.ref)
        assert "env-half-made-1" not in await admin.names("secrets")

        # Whoever is late with a run that has a successor leaves nothing of it.
        following = replace(half, ref=replace(half.ref, generation=2))
        await runtime.start(following)
        with pytest.raises(Conflict):
            await runtime._launcher._make(half)
        assert {name for name in await admin.names("secrets") if "half-made" in name} == {"env-half-made-2"}
        await end_all(runtime, admin, following.ref)


async def test_f24_a_launch_whose_name_somebody_else_has_leaves_it_alone(
    namespace: str, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slugs = iter(("taken-name", "free-name"))
    monkeypatch.setattr("cmbcluster.services.orders.slug_of", lambda _name, _suffix: next(slugs))
    await admin.create("pods", foreign("Pod", "env-taken-name"))
    before = await admin.pod("taken-name")
    assert before is not None
    async with whole(namespace, tmp_path) as platform:
        ada, ben = await people(platform.parts.database, 2)
        asked = await platform.parts.environments.launch(ada, order("one"))
        assert asked.slug == "taken-name"
        other = await platform.running(ben, "two")
        failed = await platform.reach(ada, asked, Phase.FAILED)
        assert failed.reason is not None
        assert failed.reason.what == (
            "Something in the cluster that is not the platform's has its name, env-taken-name."
        )
        kinds = ("secrets", "persistentvolumeclaims")
        assert not [name for kind in kinds for name in await admin.names(kind) if asked.slug in name]
        await platform.parts.environments.delete(ada, asked.id, typed_name="one", remove_workspace=True)

        async def is_deleted() -> bool:
            return (await platform.row(asked)).gone_at is not None

        await until_true(is_deleted)
        await end_all(platform.runtime, admin, await platform.ref(other))
    after = await admin.pod("taken-name")
    assert after is not None
    assert {name: after["metadata"].get(name) for name in ("uid", "labels", "annotations", "deletionTimestamp")} == {
        "uid": before["metadata"]["uid"],
        "labels": None,
        "annotations": None,
        "deletionTimestamp": None,
    }
    await admin.delete_pod("taken-name")
