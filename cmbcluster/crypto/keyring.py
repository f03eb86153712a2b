"""Keys that sign short-lived claims: kept in a file, named, and renewed without signing anybody out.

The file is ours, made at the first start, or one that an operator gives to several replicas, such
as a mounted Secret, which is never written. The first key signs, all verify; a file that changes
is read again. A token with another algorithm, an unknown key or for another audience is no token.
Must never log a key, nor return one but as the text of a new file.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from cmbcluster.crypto import key_file
from cmbcluster.crypto.key_file import NamedKeys
from cmbcluster.errors import StartRefused

log = structlog.get_logger("cmbcluster.crypto")

ALGORITHM = "HS256"
IF_LOST = "everybody then has to sign in again."
KEPT_KEYS = 3
TOKEN_LIMIT = 2000
# A key that another replica made a moment ago is looked for in the file, at most this often.
LOOK_AGAIN_SECONDS = 2.0
# Who signs with a new key must not do so long after the others: a file that changed is read this soon.
READ_AGAIN_SECONDS = 20.0
# A given file reaches replicas one after the other (a cluster takes up to two minutes to renew a mounted Secret). Until
# all must have it, the key before the new one signs, which all know.
SETTLE_SECONDS = 180.0


@dataclass(frozen=True)
class _Key:
    kid: str
    secret: OctKey


class Keyring:
    """Signs and verifies claims for one ``audience``; ``path`` is the file of its keys.

    ``given``: the file is somebody else's to write, and reaches other replicas at other times.
    """

    def __init__(self, keys: NamedKeys, path: Path | None = None, *, given: bool = False) -> None:
        self._path = path
        self._given = given
        self._looked_at = 0.0
        self._read_at = time.monotonic()
        self._keys: tuple[_Key, ...] = ()
        self._take(keys)

    @classmethod
    def of_file(cls, path: Path) -> Keyring:
        """The keys of a file, which is made at the first start and kept private. Blocking.

        Raises StartRefused when the file is there and holds no keys.
        """
        return cls(key_file.opened(path, IF_LOST), path)

    @classmethod
    def of_given_file(cls, path: Path) -> Keyring:
        """The keys of a file that an operator gives and that is never written. Blocking.

        Raises StartRefused when it is missing or holds no keys.
        """
        if not path.exists():
            raise StartRefused(
                f"The keys that sign sessions are missing: there is no {path}. Make a file with "
                "cmbcluster admin make-keys, give the same one to every replica, or take CMB_TOKEN_KEYS_FILE away."
            )
        return cls(key_file.read(path, IF_LOST), path, given=True)

    def sign(self, claims: dict[str, Any]) -> str:
        """A token that carries the claims. They must hold ``aud`` and ``exp``."""
        self._read_again_when_due()
        key = self._keys[1] if len(self._keys) > 1 and self._is_fresh() else self._keys[0]
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key.secret)

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
        if self._given:
            raise StartRefused(
                f"The keys in {self._path} are renewed where the file comes from. Print the content of a new one, "
                "which keeps the old keys, with: cmbcluster admin rotate-keys --print"
            )
        key_file.replace(self._path, keys)
        self._take(keys)
        return len(keys)

    def renewed(self) -> str:
        """The content of a file with a new key in front of the present ones."""
        kept = key_file.read(self._path, IF_LOST) if self._path is not None else ()
        return key_file.text_of((key_file.new_key(), *kept)[:KEPT_KEYS])

    def _key(self, kid: str) -> _Key | None:
        self._read_again_when_due()
        found = next((key for key in self._keys if key.kid == kid), None)
        now = time.monotonic()
        if found is None and self._path is not None and now - self._looked_at >= LOOK_AGAIN_SECONDS:
            self._looked_at = now
            self._read_again()
            found = next((key for key in self._keys if key.kid == kid), None)
        return found

    def _is_fresh(self) -> bool:
        """Whether other replicas may not have this file yet."""
        if not self._given or self._path is None:
            return False
        try:
            return time.time() - self._path.stat().st_mtime < SETTLE_SECONDS
        except OSError:
            return False

    def _read_again_when_due(self) -> None:
        if self._path is not None and time.monotonic() - self._read_at >= READ_AGAIN_SECONDS:
            self._read_again()

    def _read_again(self) -> None:
        """Take the keys of the file; one that cannot be read at the moment changes nothing."""
        self._read_at = time.monotonic()
        if self._path is None:
            return
        try:
            self._take(key_file.read(self._path, IF_LOST))
        except StartRefused as unreadable:
            # Whoever is signed in stays so; the next start refuses, and says this.
            log.warning("token_keys_unreadable", error=str(unreadable))

    def _take(self, keys: NamedKeys) -> None:
        self._keys = tuple(_Key(kid, OctKey.import_key(secret)) for kid, secret in keys)


def new_file() -> str:
    """The content of a new file with one new key."""
    return key_file.text_of((key_file.new_key(),))


def is_expired(claims: dict[str, Any]) -> bool:
    """Whether the time of a token's claims is over, by this machine's clock."""
    return int(claims["exp"]) <= time.time()
