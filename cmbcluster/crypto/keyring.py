"""Keys that sign short-lived claims: kept in a file of ours, named, and renewed without signing anybody out.

The first key signs, all verify. A token with another algorithm, an unknown key or for
another audience is no token. Must never log or return a key.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from cmbcluster.crypto import key_file
from cmbcluster.crypto.key_file import NamedKeys
from cmbcluster.errors import StartRefused

ALGORITHM = "HS256"
IF_LOST = "everybody then has to sign in again."
KEPT_KEYS = 3
TOKEN_LIMIT = 2000
# A key that another replica made a moment ago is looked for in the file, at most this often.
LOOK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class _Key:
    kid: str
    secret: OctKey


class Keyring:
    """Signs and verifies claims for one ``audience``; ``path`` is the file of its keys."""

    def __init__(self, keys: NamedKeys, path: Path | None = None) -> None:
        self._path = path
        self._looked_at = 0.0
        self._keys: tuple[_Key, ...] = ()
        self._take(keys)

    @classmethod
    def of_file(cls, path: Path) -> Keyring:
        """The keys of a file, which is made at the first start and kept private. Blocking.

        Raises StartRefused when the file is there and holds no keys.
        """
        return cls(key_file.opened(path, IF_LOST), path)

    def sign(self, claims: dict[str, Any]) -> str:
        """A token that carries the claims. They must hold ``aud`` and ``exp``."""
        first = self._keys[0]
        return jwt.encode({"alg": ALGORITHM, "kid": first.kid}, claims, first.secret)

    def verified(self, token: str, audience: str) -> dict[str, Any] | None:
        """The claims of a token of ours for ``audience``, expired or not; None for anything else."""
        if not token or len(token) > TOKEN_LIMIT or not token.isascii():
            return None
        try:
            kid = jws.extract_compact(token.encode()).headers().get("kid")
            key = self._key(kid) if isinstance(kid, str) else None
            if key is None:
                return None
            claims = jwt.decode(token, key.secret, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError):
            return None
        if claims.get("aud") != audience or not isinstance(claims.get("exp"), int):
            return None
        return dict(claims)

    def rotate(self) -> int:
        """Put a new key in front in the file; the older ones still verify. Returns how many there are now."""
        if self._path is None:
            raise StartRefused("These keys are not kept in a file, so they cannot be renewed here.")
        keys = (key_file.new_key(), *key_file.read(self._path, IF_LOST))[:KEPT_KEYS]
        key_file.replace(self._path, keys)
        self._take(keys)
        return len(keys)

    def _key(self, kid: str) -> _Key | None:
        found = next((key for key in self._keys if key.kid == kid), None)
        now = time.monotonic()
        if found is None and self._path is not None and now - self._looked_at >= LOOK_AGAIN_SECONDS:
            self._looked_at = now
            self._take(key_file.read(self._path, IF_LOST))
            found = next((key for key in self._keys if key.kid == kid), None)
        return found

    def _take(self, keys: NamedKeys) -> None:
        self._keys = tuple(_Key(kid, OctKey.import_key(secret)) for kid, secret in keys)


def is_expired(claims: dict[str, Any]) -> bool:
    """Whether the time of a token's claims is over, by this machine's clock."""
    return int(claims["exp"]) <= time.time()
