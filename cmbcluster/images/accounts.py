"""The platform's own accounts at registries, as ``docker login`` writes them.

The file is a secret of the operator's. Must never repeat what is written in it.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from cmbcluster.domain.images import check_registry, check_rule
from cmbcluster.errors import InvalidInput, StartRefused
from cmbcluster.images.port import PlatformAccount

FILE_LIMIT_BYTES = 1024**2


def platform_accounts(path: Path | None) -> tuple[PlatformAccount, ...]:
    """The accounts in a ``.dockerconfigjson``. Blocking; raises StartRefused for anything else."""
    if path is None:
        return ()
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(FILE_LIMIT_BYTES))
    except OSError as wrong:
        raise StartRefused(f"CMB_REGISTRY_CREDENTIALS_FILE: {path} cannot be read: {wrong.strerror}.") from wrong
    except (ValueError, RecursionError):
        # Its own text would repeat what was written.
        raise StartRefused(f"CMB_REGISTRY_CREDENTIALS_FILE: {path} is not JSON. Write it with docker login.") from None
    auths = found.get("auths") if isinstance(found, dict) else None
    if not isinstance(auths, dict) or not auths:
        raise StartRefused(
            f"CMB_REGISTRY_CREDENTIALS_FILE: {path} has no accounts under “auths”. A credential store of a desktop "
            "cannot be read; write the file with kubectl create secret docker-registry, or by hand."
        )
    return tuple(_account(path, str(key), each) for key, each in auths.items())


def _account(path: Path, key: str, found: Any) -> PlatformAccount:
    wrong = StartRefused(
        f"CMB_REGISTRY_CREDENTIALS_FILE: the entry {key!r} of {path} cannot be used. "
        "It needs a registry's host, and “auth” or “username” and “password”."
    )
    try:
        # Docker's own key for the Hub has a path that means nothing; other keys may name a part of a registry.
        rule = check_registry(key) if "://" in key else check_rule(key)
    except InvalidInput:
        raise wrong from None
    if "/" in rule and not rule.endswith("/*"):
        rule += "/*"
    if not isinstance(found, dict):
        raise wrong
    username, secret = found.get("username"), found.get("password")
    if isinstance(found.get("auth"), str) and not secret:
        try:
            username, _, secret = base64.b64decode(found["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise wrong from None
    if not isinstance(username, str) or not isinstance(secret, str) or not username or not secret:
        raise wrong
    return PlatformAccount(rule, username, secret)
