"""Names of environments and the addresses made from them.

Always true of a slug: a valid DNS label of at most 63 characters, never reused, and
nothing about its owner in it. The random part is drawn by the caller, since nothing in
``domain`` may touch a source of chance.
"""

from __future__ import annotations

import re
import unicodedata

from cmbcluster.errors import InvalidInput

NAME_LIMIT = 40  # A DNS label has 63 characters; the suffix takes 7 and we leave room.
SUFFIX_LENGTH = 6
SUFFIX_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # No 0/o, 1/i/l: people read these aloud.
_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?=[a-z0-9]))*")


def clean_name(text: str) -> str:
    """The environment name that ``text`` stands for.

    Capitals become small letters and blanks become hyphens, since people type titles.
    Raises InvalidInput (field ``name``) for what cannot be made into a DNS label.
    """
    if len(text) > 200:
        raise InvalidInput("name", "That name is too long.", f"Use at most {NAME_LIMIT} characters.")
    if any(unicodedata.category(c) == "Cc" for c in text):
        raise InvalidInput("name", "That name has control characters in it.", "Use letters, digits and hyphens.")
    name = re.sub(r"[\s_]+", "-", text.strip().lower())
    if not name:
        raise InvalidInput("name", "An environment needs a name.", "Type one, for example planck-lensing.")
    if len(name) > NAME_LIMIT:
        raise InvalidInput("name", "That name is too long.", f"Use at most {NAME_LIMIT} characters.")
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "name",
            "That name cannot be part of an address.",
            "Use letters a–z, digits and single hyphens, and begin with a letter.",
        )
    return name


def clean_label(text: str, limit: int, needed: str) -> str:
    """A name that people read, as it is kept: normalised, on one line, with nothing invisible in it.

    ``needed`` says what to type when there is none. Raises InvalidInput (field ``name``).
    """
    clean = " ".join(unicodedata.normalize("NFC", text).split())
    if not clean:
        raise InvalidInput("name", "A name is needed.", needed)
    if len(clean) > limit:
        raise InvalidInput("name", "That name is too long.", f"Use at most {limit} characters.")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs") for c in clean):
        raise InvalidInput("name", "That name has invisible characters in it.", "Type it again.")
    return clean


def clean_search(text: str, limit: int) -> str:
    """What is looked for, cut to ``limit``; raises InvalidInput (field ``search``) for characters that nothing has."""
    if not text.isprintable():
        raise InvalidInput("search", "There are invisible characters in it.", "Type what you look for again.")
    return text.strip()[:limit]


def slug_of(name: str, suffix: str) -> str:
    """The DNS label ``name-suffix``; ``suffix`` is SUFFIX_LENGTH random characters."""
    if len(suffix) != SUFFIX_LENGTH or set(suffix) - set(SUFFIX_ALPHABET):
        raise ValueError(f"a slug's suffix has {SUFFIX_LENGTH} characters of {SUFFIX_ALPHABET}")
    return f"{name}-{suffix}"
