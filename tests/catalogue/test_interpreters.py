"""Which Python is taken from those a machine has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.interpreters import check_wanted_python, choose_python, in_words
from cmbcluster.errors import BuildFailed, InvalidInput


@pytest.mark.parametrize(
    ("wanted", "versions", "chosen"),
    [
        ("3.12", ("3.11.7", "3.12.1", "3.13.0"), "3.12"),
        (">=3.11,<3.14", ("3.11.7",), "3.11"),
        (">=3.11,<3.14", ("3.13.0", "3.9.18", "3.12.1"), "3.13"),
        (">=3.9", ("3.9.1", "3.10.2"), "3.10"),
        (">=3.11,<3.15", ("3.12.4", "3.14.0rc1"), "3.12"),
        (">=3.11,!=3.13", ("3.13.1", "3.11.2"), "3.11"),
        ("<=3.12", ("3.12.9", "3.13.1"), "3.12"),
        (">3.11", ("3.11.9", "3.12.0"), "3.12"),
        ("3.12", ("pypy", "", "3.12.0"), "3.12"),
    ],
)
def test_the_newest_that_fits(wanted: str, versions: tuple[str, ...], chosen: str) -> None:
    assert choose_python(wanted, versions) == chosen


def test_a_missing_version_says_what_is_there_and_how_to_get_it() -> None:
    with pytest.raises(BuildFailed) as failed:
        choose_python("3.12", ("3.11.7", "3.13.0"))
    assert failed.value.what == "This application needs Python 3.12, and this machine has 3.11, 3.13."
    assert "uv python install 3.12" in failed.value.then


def test_a_missing_range_is_said_in_words() -> None:
    with pytest.raises(BuildFailed) as failed:
        choose_python(">=3.12,<3.14", ("3.11.7",))
    assert failed.value.what == "This application needs Python 3.12 or newer, below 3.14, and this machine has 3.11."
    assert "uv python install 3.13" in failed.value.then


def test_what_an_image_has_cannot_be_added_to() -> None:
    with pytest.raises(BuildFailed) as failed:
        choose_python("3.11", ("3.12.1",), in_image=True)
    assert failed.value.what == "This application needs Python 3.11, and environments here have 3.12."
    assert failed.value.then == "Choose Python 3.12, or a range with it in, such as >=3.11,<3.14."
    assert choose_python("3.12", ("3.12.1",), in_image=True) == "3.12"


def test_a_machine_without_any_python_is_said() -> None:
    with pytest.raises(BuildFailed, match="has none that could be used"):
        choose_python("3.12", ())


@pytest.mark.parametrize(
    "wanted", ["", "3", "2.7", "3.99", ">=2.7", ">=3.11,", "~=3.11", ">=3.11 or 4", ">=3.12.1", "x"]
)
def test_what_is_neither_version_nor_range_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_wanted_python(wanted)
    assert refused.value.field == "python"


def test_spaces_do_not_matter() -> None:
    assert check_wanted_python(" >= 3.11 , < 3.14 ") == ">=3.11,<3.14"
    assert in_words(">=3.11,<3.14") == "3.11 or newer, below 3.14"


@given(st.lists(st.integers(9, 20), max_size=6), st.integers(9, 20), st.integers(9, 21))
def test_the_choice_is_always_one_that_was_found_and_fits(found: list[int], low: int, high: int) -> None:
    versions = tuple(f"3.{minor}.1" for minor in found)
    wanted = f">=3.{low},<3.{min(high, 20)}"
    fitting = [minor for minor in found if low <= minor < min(high, 20)]
    if fitting:
        assert choose_python(wanted, versions) == f"3.{max(fitting)}"
    else:
        with pytest.raises(BuildFailed):
            choose_python(wanted, versions)
