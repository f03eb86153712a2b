"""Numbers in words, as people read them."""

from __future__ import annotations

import pytest

from cmbcluster.domain.tiers import GIB, MIB
from cmbcluster.web import words


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (17, "17 B"),
        (2355, "2.3 KiB"),
        (812 * MIB, "812 MiB"),
        (4 * GIB, "4 GiB"),
        (int(12.6 * GIB), "12.6 GiB"),
    ],
)
def test_sizes_have_binary_units(size: int, said: str) -> None:
    assert words.bytes_words(size) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0.0 s"), (0.42, "0.4 s"), (38.4, "38 s"), (125, "2 min 05 s"), (4320, "1 h 12 min")],
)
def test_measured_lengths(seconds: float, said: str) -> None:
    assert words.seconds_words(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd")]
)
def test_ordinals(number: int, said: str) -> None:
    assert words.ordinal(number) == said


def test_thousands_are_apart_by_a_thin_space() -> None:
    assert words.count(1209) == "1\u202f209"
    assert words.plural(1, "entry", "entries") == "1 entry"
    assert words.plural(2, "entry", "entries") == "2 entries"


def test_a_digest_is_shown_by_its_ends() -> None:
    assert words.digest_words("sha256:" + "9c1e" + "0" * 56 + "b07d") == "sha256:9c1e…b07d"
    assert words.digest_words("") == ""


@pytest.mark.parametrize(("name", "said"), [("Elena Marchetti", "EM"), ("ada", "A"), ("", "–"), ("  ", "–")])
def test_initials(name: str, said: str) -> None:
    assert words.initials(name) == said


@pytest.mark.parametrize(("seconds", "said"), [(2700, "45 min"), (3600, "1 hour"), (21600, "6 hours")])
def test_promised_lengths(seconds: int, said: str) -> None:
    assert words.hours_words(seconds) == said
