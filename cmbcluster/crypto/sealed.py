"""Secrets that people entrust to us, encrypted while they lie in the database.

Each is sealed for one purpose, such as one person's account at one registry, and opens for
no other: a row that was moved to somebody else opens nothing. The first key of the file
seals, all of them open. Must never log or return a key, nor say what a sealed text holds.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from cmbcluster.crypto import key_file
from cmbcluster.crypto.key_file import NamedKeys
from cmbcluster.errors import CMBClusterError, StartRefused

IF_LOST = "people then have to enter their accounts at registries again."


class CannotOpen(CMBClusterError):
    """A sealed text of another purpose, of keys that are gone, or of nobody."""


class Sealer:
    """Seals and opens. ``path`` is the file of its keys."""

    def __init__(self, keys: NamedKeys, path: Path | None = None) -> None:
        self._path = path
        self._fernet = _fernet(keys)

    @classmethod
    def of_file(cls, path: Path) -> Sealer:
        """The keys of a file, which is made at the first start and kept private. Blocking.

        Raises StartRefused when the file is there and holds no keys.
        """
        return cls(key_file.opened(path, IF_LOST), path)

    def seal(self, secret: str, purpose: str) -> str:
        """The secret, readable with our keys alone and for this purpose alone."""
        return self._fernet.encrypt(json.dumps([purpose, secret]).encode()).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """What ``seal`` was given; raises CannotOpen."""
        try:
            kept_for, secret = json.loads(self._fernet.decrypt(sealed.encode()))
        except (InvalidToken, ValueError, TypeError) as wrong:
            raise CannotOpen("a sealed secret cannot be opened") from wrong
        if kept_for != purpose:
            raise CannotOpen("a sealed secret is for another purpose")
        return str(secret)

    def renew(self) -> int:
        """Put a new key in front in the file; returns how many there are now. Blocking.

        No key is ever dropped here: what it sealed could not be opened any more.
        """
        if self._path is None:
            raise StartRefused("These keys are not kept in a file, so they cannot be renewed here.")
        keys = (key_file.new_key(), *key_file.read(self._path, IF_LOST))
        key_file.replace(self._path, keys)
        self._fernet = _fernet(keys)
        return len(keys)


def _fernet(keys: NamedKeys) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(secret[: key_file.KEY_BYTES])) for _, secret in keys])
