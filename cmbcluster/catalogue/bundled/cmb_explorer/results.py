"""Writes what is on screen into the workspace, in a folder of its own each time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from model import Spectra, as_record


@dataclass(frozen=True)
class Choice:
    """How the sky is drawn."""

    nside: int = 128
    seed: int = 1
    beam_arcmin: float = 0.0
    limit: float = 300.0


def save(spectra: Spectra, choice: Choice, csv: str, fits: bytes, png: bytes, root: Path | None = None) -> Path:
    """Write the four files below ``results`` of ``root`` (the workspace) and return their folder.

    An earlier folder is never written into, so nothing is replaced.
    """
    results = (root or Path.cwd()) / "results"
    stamp = datetime.now().astimezone().strftime("cmb-%Y%m%d-%H%M%S")
    folder = results / stamp
    again = 1
    while folder.exists():
        again += 1
        folder = results / f"{stamp}-{again}"
    folder.mkdir(parents=True)
    (folder / "spectra.csv").write_text(csv, encoding="utf-8")
    (folder / "map.fits").write_bytes(fits)
    (folder / "map.png").write_bytes(png)
    record = {**as_record(spectra), "sky": asdict(choice)}
    (folder / "parameters.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return folder


def in_workspace(folder: Path) -> str:
    """The folder as a person in the workspace would name it."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
