"""Files of keys: made at the first start, readable by us alone, never read half-written.

A file is ``{"keys": [{"kid": …, "key": …}]}``, the newest key first. Must never log a key.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from pathlib import Path

from cmbcluster.errors import StartRefused

KEY_BYTES = 32

NamedKeys = tuple[tuple[str, bytes], ...]


def new_key() -> tuple[str, bytes]:
    """A key with a name of its own."""
    return secrets.token_hex(4), secrets.token_bytes(KEY_BYTES)


def opened(path: Path, if_lost: str) -> NamedKeys:
    """The keys of a file, which is made with a first key when it is not there. Blocking."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _write_new(path, (new_key(),))
    return read(path, if_lost)


def read(path: Path, if_lost: str) -> NamedKeys:
    """The keys of a file. Blocking; raises StartRefused, with ``if_lost`` for whoever has no copy of it."""
    try:
        kept = json.loads(path.read_text(encoding="ascii"))["keys"]
        keys = tuple((str(row["kid"]), bytes.fromhex(row["key"])) for row in kept)
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise StartRefused(
            f"The keys in {path} cannot be read. Put the file back from a backup, or remove it: {if_lost}"
        ) from wrong
    if not keys or any(len(secret) < KEY_BYTES for _, secret in keys):
        raise StartRefused(f"The keys in {path} are too short. Remove the file: {if_lost}")
    return keys


def text_of(keys: NamedKeys) -> str:
    """The content of a file of these keys."""
    return json.dumps({"keys": [{"kid": kid, "key": secret.hex()} for kid, secret in keys]})


def replace(path: Path, keys: NamedKeys) -> None:
    """Write all keys anew. Blocking."""
    os.replace(_half(path, keys), path)


def _write_new(path: Path, keys: NamedKeys) -> None:
    """Write the first keys; another process that was quicker wins."""
    half = _half(path, keys)
    try:
        os.link(half, path)
    except FileExistsError:
        return
    finally:
        os.unlink(half)


def _half(path: Path, keys: NamedKeys) -> str:
    """The whole text under another name, so that nobody ever reads a part of it."""
    descriptor, half = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text_of(keys))
        file.flush()
        os.fsync(file.fileno())
    return half
