"""The form of a personal token: ``cmb_``, 256 bits in letters and digits, and a checksum.

The prefix is for scanners that look for leaked secrets, the checksum for us and for them: what is
mistyped or cut is known without asking the database. Neither must ever be taken for a proof.
"""

from __future__ import annotations

import string
import zlib

PREFIX = "cmb_"
SHOWN_CHARACTERS = 12
LIFETIMES_DAYS: tuple[int, ...] = (7, 30, 90, 365)
USUAL_LIFETIME_DAYS = 90
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY_CHARACTERS = 43  # 62 to the power of 43 is just above 2 to the power of 256.
_CHECK_CHARACTERS = 6


def _letters(number: int, length: int) -> str:
    out = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        out.append(_DIGITS[digit])
    return "".join(reversed(out))


def token_of(number: int) -> str:
    """The token that a random number of 256 bits stands for."""
    if not 0 <= number < 2**256:
        raise ValueError("a token is made of 256 bits")
    head = PREFIX + _letters(number, _BODY_CHARACTERS)
    return head + _checksum(head)


def looks_right(token: str) -> bool:
    """Whether ``token`` has the form and the checksum of one of ours."""
    if len(token) != len(PREFIX) + _BODY_CHARACTERS + _CHECK_CHARACTERS or not token.startswith(PREFIX):
        return False
    head, check = token[:-_CHECK_CHARACTERS], token[-_CHECK_CHARACTERS:]
    return set(token[len(PREFIX) :]) <= set(_DIGITS) and check == _checksum(head)


def _checksum(head: str) -> str:
    return _letters(zlib.crc32(head.encode()), _CHECK_CHARACTERS)


def bearer_of(authorization: str) -> str:
    """The token in an Authorization header, or the empty string.

    ``Bearer`` is the standard's word, ``token`` that of Jupyter's clients.
    """
    scheme, _, value = authorization.strip().partition(" ")
    value = value.strip()
    return value if scheme.lower() in ("bearer", "token") and value.startswith(PREFIX) else ""
