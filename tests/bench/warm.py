"""Packages that a node has already against an image that has everything: how long until the program answers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cmbcluster.domain.images import PinnedImage
from cmbcluster.domain.sources import Lock, PythonSource
from cmbcluster.runtime.kubernetes.runtime import KubernetesRuntime
from cmbcluster.runtime.port import Packages, Sight, Spec
from tests.bench.report import Row, Section, least_and_most, median, publish
from tests.bench.surroundings import quiet_logs
from tests.kubernetes.cluster import (
    PYTHON,
    Admin,
    admin_of,
    end_all,
    make_namespace,
    opened,
    remove_namespace,
    settings_for,
    spec_of,
    wanted,
)
from tests.kubernetes.mirror import mirrored

ROUNDS = 12
LOOK_AGAIN_SECONDS = 0.01
MOST_SECONDS = 120.0
# The cluster asks a program once a second whether it answers, so that one launch can be as much later by chance.
GOAL = 1.1
PACKAGES = ("numpy", "idna", "six")
COMMAND = ("python3", "-m", "http.server", "{port}", "--bind", "{address}")


def _lock(folder: Path) -> Lock:
    (folder / "in").write_text("\n".join(PACKAGES), encoding="utf-8")
    uv = str(Path(sys.executable).parent / "uv")
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--only-binary=:all:",
    ]
    done = subprocess.run(
        [*command, "--python-version", PYTHON, "in"], cwd=folder, capture_output=True, text=True, check=True
    )
    return Lock(done.stdout, PYTHON, len(PACKAGES))


def _with_packages(slug: str, lock: Lock) -> Spec:
    return replace(spec_of(slug, COMMAND, lock=lock), content=Packages(PythonSource(PACKAGES, PYTHON), lock))


def _with_image(slug: str) -> Spec:
    name, _, tag = wanted("CMB_TEST_WORKSPACE_IMAGE").rpartition(":")
    return replace(spec_of(slug, COMMAND), content=PinnedImage(name, "", 0, tag))


async def _launched(runtime: KubernetesRuntime, admin: Admin, spec: Spec) -> float:
    """Seconds from the order until it runs."""
    began = time.perf_counter()
    await runtime.start(spec)
    while (seen := await runtime.look(spec.ref)).sight is not Sight.RUNNING:
        if seen.ending is not None:
            raise RuntimeError(f"{seen.ending.what} {seen.ending.log_tail}")
        if time.perf_counter() - began > MOST_SECONDS:
            raise RuntimeError(f"{spec.ref.slug} does not run after {MOST_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    took = time.perf_counter() - began
    await end_all(runtime, admin, spec.ref)
    return took


async def _all(index_url: str, lock: Lock) -> tuple[float, list[float], list[float]]:
    namespace = await make_namespace()
    try:
        settings = settings_for(namespace, package_index_url=index_url)
        async with admin_of(namespace) as admin, opened(settings) as runtime:
            cold = await _launched(runtime, admin, _with_packages("cold", lock))
            warm, whole = list[float](), list[float]()
            for number in range(ROUNDS):
                warm.append(await _launched(runtime, admin, _with_packages(f"warm-{number}", lock)))
                whole.append(await _launched(runtime, admin, _with_image(f"whole-{number}")))
            return cold, warm, whole
    finally:
        await remove_namespace(namespace)


def _measure() -> Section:
    with tempfile.TemporaryDirectory(prefix="cmb-bench-") as made:
        folder = Path(made)
        (folder / "mirror").mkdir()
        with mirrored(folder / "mirror") as index_url:
            cold, warm, whole = asyncio.run(_all(index_url, _lock(folder)))
    ratio = median(warm) / median(whole)
    rows = (
        Row("packages that are there, order to running", f"{median(warm):.2f} s", least_and_most(warm)),
        Row("an image that has everything", f"{median(whole):.2f} s", least_and_most(whole)),
        Row(
            "the first against the second", f"{ratio:.2f} ×", f"median of {ROUNDS} rounds", f"≤ {GOAL} ×", ratio <= GOAL
        ),
        Row("packages that nobody has installed yet", f"{cold:.1f} s", "one launch, from a mirror on the node"),
    )
    return Section(
        "warm",
        "Packages against a whole image on a cluster",
        rows,
        (
            f"The runtime alone, one launch after the other by turns, each with a new claim: {', '.join(PACKAGES)} "
            "installed by an earlier launch, against the image that they run on, which needs none of them; the program "
            "is Python's own server both times.",
        ),
    )


def main() -> None:
    """Measure and publish; leave the figures as they were where there is no cluster."""
    if not os.environ.get("KUBECONFIG") or not os.environ.get("CMB_TEST_WORKSPACE_IMAGE"):
        sys.exit("needs a cluster: docs/kubernetes.md says how the test cluster is started")
    quiet_logs()
    publish(_measure())


if __name__ == "__main__":
    main()
