"""Secrets that are made once, shown once and kept only as hashes."""

from __future__ import annotations

import hashlib
import secrets

from cmbcluster.domain.naming import SUFFIX_ALPHABET, SUFFIX_LENGTH

TOKEN_BYTES = 32  # 256 bits; the checklist asks for at least 128.


def new_token() -> str:
    """A token of 256 bits from the operating system, safe in a cookie and in an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def sha256_hex(token: str) -> str:
    """What is kept of a token. A plain hash suffices, since the token itself is random."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_suffix() -> str:
    """The random end of an address."""
    return "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))
