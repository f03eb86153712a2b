"""Names become addresses: always a DNS label, whatever was typed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.naming import SUFFIX_ALPHABET, clean_name, slug_of
from cmbcluster.errors import InvalidInput

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@given(st.text(max_size=60), st.text(SUFFIX_ALPHABET, min_size=6, max_size=6))
def test_what_is_accepted_is_a_dns_label(text: str, suffix: str) -> None:
    try:
        name = clean_name(text)
    except InvalidInput as refused:
        assert refused.field == "name"
        assert refused.then
        return
    assert DNS_LABEL.fullmatch(slug_of(name, suffix))
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("typed", "name"),
    [("Planck Lensing", "planck-lensing"), ("  act_dr6  ", "act-dr6"), ("a" * 40, "a" * 40), ("x1-2", "x1-2")],
)
def test_titles_become_names(typed: str, name: str) -> None:
    assert clean_name(typed) == name


@pytest.mark.parametrize("suffix", ["", "abc", "abcde0", "ABCDEF", "abcdefg"])
def test_only_our_suffixes(suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        slug_of("planck", suffix)
