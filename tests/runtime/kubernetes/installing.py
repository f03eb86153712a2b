"""Folders like those of a pod that installs, and the program run in them as a pod runs it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cmbcluster.runtime.kubernetes import packages

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


class Pod:
    """Folders like those of a pod."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("cmb", "packages", "workspace"):
            (root / name).mkdir()
        (root / "workspace" / "notes").write_bytes(b"x" * 1000)
        (root / "cmb" / packages.PROGRAM).write_bytes(packages.program())
        self.send("")

    @property
    def volume(self) -> Path:
        """The volume of packages."""
        return self.root / "packages"

    def send(self, lock: str) -> None:
        (self.root / "cmb" / "lock.txt.gz").write_bytes(gzip.compress(lock.encode()))

    def begin(
        self, key: str = "k1", python: str = HERE, path: str = "", name: str = "told", **more: str
    ) -> subprocess.Popen[str]:
        """Run the program, with ``more`` variables than a pod has."""
        variables = {
            "PATH": os.pathsep.join([path, str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "HOME": str(self.root),
            "CMB_BUILD": key,
            "CMB_PYTHON": python,
            "CMB_FROM": str(self.root / "cmb"),
            "CMB_PACKAGES": str(self.volume),
            "CMB_WORKSPACE": str(self.root / "workspace"),
            "CMB_TELL": str(self.root / name),
            **more,
        }
        command = [os.path.realpath(sys.executable), "-I", str(self.root / "cmb" / packages.PROGRAM)]
        log = (self.root / f"{name}.log").open("w")
        with log:
            return subprocess.Popen(
                command, env=variables, cwd=self.root, stdout=log, stderr=subprocess.STDOUT, text=True
            )

    def run(self, **others: str) -> tuple[int, dict[str, Any]]:
        code = self.begin(**others).wait(60)
        return code, json.loads((self.root / "told").read_text())

    def said(self, name: str = "told") -> str:
        """All that it printed."""
        return (self.root / f"{name}.log").read_text()

    def builds(self) -> set[str]:
        folder = self.volume / "builds"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()
