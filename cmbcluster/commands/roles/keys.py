"""The keys that sign sessions must be the same in every replica that reads them."""

from __future__ import annotations

from cmbcluster.errors import StartRefused
from cmbcluster.settings import Settings


def check_signing_keys(settings: Settings, name: str) -> None:
    """Raise StartRefused unless a file of keys is named; whether it is any good shows when it is read."""
    if settings.token_keys_file is None:
        raise StartRefused(
            f"`cmbcluster {name}` needs the keys that all replicas sign sessions with, and CMB_TOKEN_KEYS_FILE names "
            "none. Make a file with `cmbcluster admin make-keys`, and give the same one to every replica."
        )
