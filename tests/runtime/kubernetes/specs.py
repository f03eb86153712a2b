"""Specs of every kind the domain allows, a few by name, all others drawn; and what is made for them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import strategies as st

from cmbcluster.catalogue.schema import load_seed
from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.sources import Lock, Program, PythonSource
from cmbcluster.runtime.kubernetes import manifests, packages
from cmbcluster.runtime.kubernetes.manifests import Ground
from cmbcluster.runtime.kubernetes.names import Place
from cmbcluster.runtime.port import Packages, Placement, Ref, Spec, Toleration

GIB = 1024**3
GROUND = Ground(Place("cmbcluster-envs", "cmbcluster"), "registry.example.org/cmb-workspace:3.12")
# A cluster where environments share no volume of packages.
OWN_GROUND = replace(GROUND, own_packages_bytes=8 * GIB)
LOCK = Lock(
    "idna==3.10 \\\n    --hash=sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3\n", "3.12", 1
)
ID = uuid.UUID("0190a7c5-2222-7bbb-8ccc-0123456789ab")
IMAGE = PinnedImage("registry.example.org/team/planck", "sha256:" + "a1" * 32, 123_456_789)
NO_KEY = "0" * packages.KEY_LENGTH


def packages_spec(**changes: object) -> Spec:
    """A Python source, as the catalogue has them."""
    values: dict[str, object] = {
        "ref": Ref(ID, "planck-lensing-k7q2mx", 3),
        "content": Packages(PythonSource(("idna",), "3.12"), LOCK),
        "program": Program(
            ("{python}", "-m", "jupyterlab", "--ip={address}", "--port={port}", "--dir={workspace}", "$(HOME)"),
            8888, "/api/status", 90, {"JUPYTER_CONFIG_PATH": "{bundled}", "SHELL": "/bin/bash"},
        ),
        "cpu_millis": 2000,
        "memory_bytes": 4 * GIB,
        "processes": 512,
        "workspace_bytes": 10 * GIB,
        "operation_id": "op-1",
    }  # fmt: skip
    return Spec(**(values | changes))  # type: ignore[arg-type]


def image_spec() -> Spec:
    """An image of somebody's own, with everything an application may ask of a cluster."""
    return packages_spec(
        content=IMAGE,
        program=Program(("python3", "app.py", "--port={port}"), 8501),
        variables={"OPENAI_API_KEY": "canary-of-a-secret", "HOME": "/somewhere"},
        pull_config='{"auths": {"registry.example.org": {"auth": "canary-of-a-password"}}}',
        placement=Placement(
            node_selector=(("pool", "gpu"),),
            tolerations=(Toleration("gpu", "yes", "NoSchedule"), Toleration("spot")),
            gpus=2,
            priority_class="research",
            storage_class="fast",
            ephemeral_bytes=20 * GIB,
            root_is_writable=True,
        ),
    )


def catalogue_specs() -> list[Spec]:
    """Every application of the catalogue that comes from packages."""
    made = []
    for entry in load_seed():
        if entry.source is not None and entry.program is not None:
            source = PythonSource.from_dict(entry.source.model_dump() | {"python": "3.12"})
            program = Program.from_dict(entry.program.model_dump())
            ref = Ref(ID, f"{entry.id}-k7q2mx", 1)
            made.append(packages_spec(ref=ref, content=Packages(source, LOCK), program=program))
    return made


def objects_of(spec: Spec, ground: Ground = GROUND) -> list[dict[str, Any]]:
    """Everything that is made for a launch, in order. The key of a build follows from code, so it is blanked."""
    made = [manifests.claim(ground, spec)]
    bundle = None
    if isinstance(spec.content, Packages):
        bundle = replace(packages.bundle_of(spec.content, ground.workspace_image), key=NO_KEY)
    if manifests.needs_secret(spec):
        made.append(manifests.secret(ground, spec, "uid-of-the-claim"))
    return [*made, manifests.pod(ground, spec, bundle)]


_words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
_names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True)
_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
_programs = st.builds(
    Program,
    command=st.lists(_words, min_size=1, max_size=6).map(tuple),
    port=st.integers(1024, 65535),
    health_path=st.from_regex(r"/[A-Za-z0-9._~/%?=&-]{0,40}", fullmatch=True),
    ready_within_seconds=st.integers(1, 3600),
    environment=st.dictionaries(_names, _words, max_size=4),
)
_sources = st.builds(
    PythonSource,
    requirements=st.just(("idna",)),
    python=st.sampled_from(["3.11", "3.12"]),
    as_of=st.sampled_from(["", date(2025, 11, 15).isoformat()]),
    bundled=st.sampled_from(["", "cmb_explorer", "jupyterlab", "streamlit_page"]),
    from_source=st.booleans(),
)
_placements = st.builds(
    Placement,
    node_selector=st.dictionaries(_labels, _labels, max_size=2).map(lambda d: tuple(d.items())),
    tolerations=st.lists(
        st.builds(Toleration, _labels, _labels | st.just(""), st.sampled_from(["", "NoSchedule", "NoExecute"])),
        max_size=2,
    ).map(tuple),
    gpus=st.integers(0, 8),
    priority_class=st.sampled_from(["", "research"]),
    storage_class=st.sampled_from(["", "fast"]),
    ephemeral_bytes=st.sampled_from([0, 8 * GIB]),
    root_is_writable=st.booleans(),
)
specs = st.builds(
    Spec,
    ref=st.builds(
        Ref,
        environment_id=st.uuids(),
        slug=st.from_regex(r"[a-z](?:[a-z0-9]|-(?=[a-z0-9])){0,39}-[a-hjkmnp-z2-9]{6}", fullmatch=True),
        generation=st.integers(1, 10**6),
    ),
    content=st.builds(Packages, _sources, st.just(LOCK)) | st.just(IMAGE),
    program=_programs,
    cpu_millis=st.integers(100, 64_000),
    memory_bytes=st.integers(64 * 1024**2, 512 * GIB),
    processes=st.integers(1, 10_000),
    workspace_bytes=st.integers(GIB, 1000 * GIB),
    operation_id=st.just("") | _labels,
    variables=st.dictionaries(_names, _words, max_size=5),
    pull_config=st.sampled_from(["", '{"auths": {}}']),
    placement=_placements,
)
