"""A controller in a process of its own, which a signal meets at the step that a test chose.

It is the role ``cmbcluster controller`` over a real cluster; its environments are small and need no packages. Steps
are the controller's checkpoints and, between them, each write to the API server: that one was made, and what follows
was not. A test arms a step by a file of that name in a folder that all its controllers share. Who comes there first
takes the file away and sends itself the signal that is in it, before the next line runs.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kubernetes.aio.config import kube_config

import cmbcluster.commands.roles.controller as role
import cmbcluster.wiring as wiring
from cmbcluster.cli import main
from cmbcluster.controller.controller import Controller
from cmbcluster.runtime.kubernetes import client
from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.port import Spec
from cmbcluster.settings import Settings
from tests.kubernetes.whole import QUICK, NoPackages, SmallRuntime

STEPS = "TEST_STEPS"
UNLEASED = "TEST_UNLEASED"
PATIENCE = "TEST_PATIENCE"
# What nobody knows, or should not be there, is looked for twice within this time.
GRACE_SECONDS = 2.0
WRITTEN = "written"


class Steps:
    """Where this process is, and what waits for it there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reach(self, step: str) -> None:
        """Meet the signal that waits at a step, if one does."""
        armed = self._folder / step
        taken = armed.with_name(f"{step}.{os.getpid()}")
        try:
            armed.rename(taken)
        except FileNotFoundError:
            return
        os.kill(os.getpid(), int(taken.read_text()))

    def wrote(self, step: str) -> None:
        """Note a write to the API server, and reach it."""
        with (self._folder / WRITTEN).open("a") as file:
            file.write(f"{step}\n")
        self.reach(step)


class SteppingCluster(Cluster):
    """Says before each write that it is about to be made, and afterwards that it was."""

    steps: Steps

    async def create(self, path: str, body: Json) -> Json | None:
        """As ever."""
        kind = _kind(path, body["metadata"]["name"])
        self.steps.reach(f"creating_{kind}")
        made = await super().create(path, body)
        self.steps.wrote(f"created_{kind}")
        return made

    async def patch(self, path: str, body: Json) -> Json | None:
        """As ever."""
        kind = _kind(path, path.split("/")[-1])
        self.steps.reach(f"patching_{kind}")
        changed = await super().patch(path, body)
        self.steps.wrote(f"patched_{kind}")
        return changed

    async def delete(self, path: str, *, uid: str = "", grace_seconds: int | None = None) -> bool:
        """As ever."""
        kind = _kind(path, path.split("/")[-1])
        self.steps.reach(f"deleting_{kind}")
        was_there = await super().delete(path, uid=uid, grace_seconds=grace_seconds)
        self.steps.wrote(f"deleted_{kind}")
        return was_there


def _kind(path: str, name: str) -> str:
    """What is written: claims are of two kinds."""
    kind = path.split("/namespaces/")[-1].split("/")[1]
    if kind != "persistentvolumeclaims":
        return kind
    return "workspaces" if name.startswith("workspace-") else "packages"


async def _open_runtime(settings: Settings, *, follow: bool, patience: float) -> SmallRuntime:
    runtime = SmallRuntime(settings, rhythm=QUICK, patience=patience)
    runtime.adjust = _with_a_secret
    await runtime.open(follow=follow)
    return runtime


def _with_a_secret(spec: Spec) -> Spec:
    """A run whose variables take an object of their own."""
    return replace(spec, variables={"KEY": "value"})


def _no_packages(_settings: Settings) -> NoPackages:
    return NoPackages()


def run(surroundings: dict[str, str], log: str) -> None:
    """Be a controller until a signal. For a process that has done nothing else yet."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for name in [name for name in os.environ if name.upper().startswith("CMB_")]:
        del os.environ[name]
    os.environ.update(surroundings)
    steps = Steps(Path(surroundings[STEPS]))
    SteppingCluster.steps = steps
    controller: Any = partial(
        Controller, reach=steps.reach, leased=UNLEASED not in surroundings, orphan_grace_seconds=GRACE_SECONDS
    )
    sys.argv = ["cmbcluster", role.Controller.name]
    with ExitStack() as patches:
        patches.enter_context(patch.object(client, "Cluster", SteppingCluster))
        patches.enter_context(patch.object(role, "Reconciling", controller))
        # The library has read it already, in the process that this one is forked from.
        patches.enter_context(patch.object(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", surroundings["KUBECONFIG"]))
        opening = partial(_open_runtime, patience=float(surroundings[PATIENCE]))
        patches.enter_context(patch.object(wiring, "_open_runtime", opening))
        patches.enter_context(patch.object(wiring, "UvResolver", _no_packages))
        main()
