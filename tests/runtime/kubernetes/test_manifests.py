"""What is sent to a cluster: whole objects compared, and rules that hold for every spec there can be."""

from __future__ import annotations

import copy
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.sources import Program, PythonSource
from cmbcluster.runtime.kubernetes import manifests, names, packages
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.port import Packages, Placement, Spec
from tests.runtime.kubernetes.restricted import BREAKS, faults
from tests.runtime.kubernetes.specs import (
    GROUND,
    LOCK,
    OWN_GROUND,
    catalogue_specs,
    image_spec,
    objects_of,
    packages_spec,
    specs,
)

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize(
    ("name", "spec", "ground"),
    [
        ("packages", packages_spec(), GROUND),
        ("packages-of-its-own", packages_spec(), OWN_GROUND),
        ("image", image_spec(), GROUND),
    ],
)
def test_objects_are_those_of_the_snapshot(name: str, spec: Spec, ground: Ground) -> None:
    text = "".join(manifests.canonical(each) for each in objects_of(spec, ground))
    kept = SNAPSHOTS / f"{name}.json"
    if os.environ.get("CMB_WRITE_SNAPSHOTS"):
        kept.write_text(text, encoding="utf-8")
    assert text == kept.read_text(encoding="utf-8"), "look at it, then write it with CMB_WRITE_SNAPSHOTS=1"


def test_only_an_environment_without_the_internet_has_the_label_the_network_rules_know() -> None:
    spec = packages_spec()
    offline = replace(spec, placement=Placement(internet=False))
    found = [objects_of(each)[-1]["metadata"]["labels"].get("cmbcluster.io/internet") for each in (spec, offline)]
    assert found == [None, "none"]


@settings(max_examples=200, deadline=None)
@given(spec=specs, ground=st.sampled_from([GROUND, OWN_GROUND]))
def test_every_pod_is_restricted_and_limited(spec: Spec, ground: Ground) -> None:
    pod = objects_of(spec, ground)[-1]
    assert faults(pod) == []
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert len(pod["metadata"]["name"]) <= 63
    assert all(len(value) <= 63 for value in pod["metadata"]["labels"].values())
    assert len(pod["spec"]["hostname"]) <= 63
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
        for kind in ("limits", "requests"):
            assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"][kind])
    assert names.ref_of(pod) == spec.ref


def _expanded(text: str) -> str:
    """What a node makes of the words of a command and of variables: $(NAME) is looked up, $$ is one dollar sign."""
    found = re.sub(r"\$(?:\$|\((.*?)\))", lambda match: "EXPANDED" if match[1] is not None else "$", text)
    return found


@pytest.mark.parametrize("word", ["$(HOME)", "$$(HOME)", "$$$(HOME)", "echo $$", "$", "a$b", "$$(A)$(B)$$", "$()"])
def test_dollar_signs_arrive_as_they_were_written(word: str) -> None:
    program = Program(("sh", "-c", word), 8888, "/", 90, {"WORD": word})
    container = objects_of(packages_spec(program=program))[-1]["spec"]["containers"][0]
    assert _expanded(container["command"][2]) == word
    assert [_expanded(each["value"]) for each in container["env"] if each["name"] == "WORD"] == [word]


@settings(max_examples=200, deadline=None)
@given(spec=specs)
def test_no_value_of_a_person_is_in_a_pod(spec: Spec) -> None:
    marked = {name: f"canary-{number}" for number, name in enumerate(spec.variables)}
    pod = json.dumps(
        objects_of(replace(spec, variables=marked, pull_config=spec.pull_config and '{"auths": {"c": 1}}'))[-1]
    )
    assert "canary-" not in pod
    assert '"auths"' not in pod


@settings(max_examples=100, deadline=None)
@given(spec=specs)
def test_packages_of_its_own_count_and_need_no_claim_that_others_have(spec: Spec) -> None:
    shared, own = objects_of(spec)[-1], objects_of(spec, OWN_GROUND)[-1]
    if not isinstance(spec.content, Packages):
        assert own == shared
        return
    volumes = {each["name"]: each for each in own["spec"]["volumes"]}
    assert volumes["packages"] == {"name": "packages", "emptyDir": {"sizeLimit": str(OWN_GROUND.own_packages_bytes)}}
    assert names.claims_of(own) == (names.claim_name(spec.ref.slug),)
    for kind in ("initContainers", "containers"):
        (with_own,), (with_shared,) = own["spec"][kind], shared["spec"][kind]
        assert with_own["volumeMounts"] == with_shared["volumeMounts"]
        for word in ("limits", "requests"):
            more = [int(each["resources"][word]["ephemeral-storage"]) for each in (with_own, with_shared)]
            assert more[0] - more[1] == OWN_GROUND.own_packages_bytes


@pytest.mark.parametrize("ground", [GROUND, OWN_GROUND], ids=["shared", "own"])
@pytest.mark.parametrize("spec", catalogue_specs(), ids=lambda spec: str(spec.ref.slug))
def test_every_application_of_the_catalogue_is_restricted(spec: Spec, ground: Ground) -> None:
    pod = objects_of(spec, ground)[-1]
    assert faults(pod) == []
    command = pod["spec"]["containers"][0]["command"]
    assert not any("{" in word and "}" in word for word in command)
    assert any("0.0.0.0" in word for word in command)


@pytest.mark.parametrize("name", BREAKS)
def test_our_rules_see_what_they_are_for(name: str) -> None:
    pod = copy.deepcopy(objects_of(packages_spec())[-1])
    BREAKS[name](pod)
    assert faults(pod)


@settings(max_examples=50, deadline=None)
@given(spec=specs)
def test_a_pod_that_needs_not_install_is_the_same_without_its_installer(spec: Spec) -> None:
    bundle = packages.bundle_of(spec.content, "a:1") if isinstance(spec.content, Packages) else None
    whole = manifests.pod(GROUND, spec, bundle)
    short = manifests.pod(GROUND, spec, bundle, needed=None)
    assert faults(short) == []
    whole["spec"].pop("initContainers", None)
    whole["spec"]["volumes"] = [each for each in whole["spec"]["volumes"] if each["name"] != "sent"]
    assert short == whole


def test_a_machine_keeps_free_what_the_settings_say() -> None:
    spec = image_spec()
    for ground, cpu, memory in (
        (GROUND, spec.cpu_millis // 4, spec.memory_bytes),
        (
            replace(GROUND, cpu_request_percent=50, memory_request_percent=10),
            spec.cpu_millis // 2,
            spec.memory_bytes // 10,
        ),
    ):
        resources = manifests.pod(ground, spec, None)["spec"]["containers"][0]["resources"]
        assert resources["requests"]["cpu"] == f"{cpu}m"
        assert resources["requests"]["memory"] == str(memory)
        assert resources["limits"]["memory"] == str(spec.memory_bytes)


def test_a_bundle_is_named_by_all_it_is_made_of() -> None:
    content = packages_spec().content
    assert isinstance(content, Packages)
    other_lock = replace(content, lock=replace(LOCK, text=LOCK.text + "six==1.17.0\n"))
    bundled = replace(content, source=replace(content.source, bundled="jupyterlab"))
    from_source = replace(content, source=replace(content.source, from_source=True))
    keys = {packages.bundle_of(each, "a:1").key for each in (content, other_lock, bundled, from_source)}
    assert len(keys | {packages.bundle_of(content, "b:1").key}) == 5
    assert packages.bundle_of(content, "a:1") == packages.bundle_of(content, "a:1")


def test_a_bundle_fits_into_a_config_map() -> None:
    source = PythonSource(("idna",), "3.12", bundled="cmb_explorer")
    bundle = packages.bundle_of(Packages(source, LOCK), "a:1")
    assert len(json.dumps(packages.config_map(GROUND.place, bundle))) < 300_000


def test_only_an_image_that_the_nodes_have_is_never_asked_for_at_a_registry() -> None:
    spec = image_spec()
    on_nodes = replace(spec, content=PinnedImage("localhost/app", "", 0, "1.0"))
    made = [objects_of(each)[-1]["spec"]["containers"][0] for each in (spec, on_nodes)]
    assert [each["imagePullPolicy"] for each in made] == ["IfNotPresent", "Never"]
    assert made[1]["image"] == "localhost/app:1.0"
