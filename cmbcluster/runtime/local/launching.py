"""From a finished build to what a supervisor is told: the launch file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cmbcluster.runtime.local import inside
from cmbcluster.runtime.local.finishing import Build
from cmbcluster.runtime.local.isolation import NONE, View, argv
from cmbcluster.runtime.local.limits import MEASURED, SYSTEMD, Plan
from cmbcluster.runtime.local.machine import Machine, Way
from cmbcluster.runtime.local.run_folder import EnvironmentFolder
from cmbcluster.runtime.port import Spec


def launch_file(
    machine: Machine, spec: Spec, build: Build, folder: EnvironmentFolder, way: Way, plan: Plan
) -> dict[str, Any]:
    """All a supervisor needs to start the program and hold its limits."""
    level = machine.isolation.level
    inner = way.inner_port
    made = inside.variables(level, build.folder, folder.workspace, spec.program, spec.variables, inner)
    silent, outspoken = inside.split_outspoken(level, made)
    words = inside.places(level, build.folder, folder.workspace, inner)
    view = View(
        command=tuple(inside.fill(word, words) for word in spec.program.command),
        slug=spec.ref.slug,
        workspace=folder.workspace,
        build=build.folder,
        interpreter=build.interpreter,
        files=folder.files,
        hidden=machine.tool.data_dir,
        outer_host=way.host,
        outer_port=way.outer_port,
        inner_port=inner,
        certificates=inside.certificates(made),
        outspoken=outspoken,
    )
    account = machine.tool.account
    if plan.by == SYSTEMD:
        # systemd-run asks the user's own service manager, which it finds by these.
        silent |= {name: os.environ[name] for name in ("XDG_RUNTIME_DIR",) if name in os.environ}
    return {
        "argv": [*plan.prefix, *argv(machine.isolation, view)],
        "environment": silent,
        "bare": level == NONE,
        "folder": str(folder.workspace if level == NONE else Path("/")),
        "account": [account.uid, account.gid] if account.changes else None,
        "cgroups": list(plan.cgroups),
        "cpus": list(plan.cpus),
        "scope": plan.by == SYSTEMD,
        "measure": plan.by == MEASURED,
        "memory_bytes": spec.memory_bytes,
        "processes": spec.processes,
        "grace_seconds": machine.settings.local_stop_grace_seconds,
        "log_bytes": machine.settings.local_log_bytes,
    }
