"""The keys that sign sessions must be the same in every replica that reads them."""

from __future__ import annotations

from cmbcluster.errors import StartRefused
from cmbcluster.settings import Settings


def check_signing_keys(settings: Settings, name: str) -> None:
    """Raise StartRefused unless a file of keys is named and there."""
    path = settings.signing_keys_file
    if path is None or not path.is_file():
        where = "names none" if path is None else f"names {path}, which is not there"
        raise StartRefused(
            f"`cmbcluster {name}` needs the keys that all replicas sign sessions with, and CMB_SIGNING_KEYS_FILE "
            f"{where}. Make such a file with `cmbcluster admin rotate-keys`, which writes it where the setting says."
        )
