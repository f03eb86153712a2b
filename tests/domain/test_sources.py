"""Sources, locks and commands: equal things have equal digests, and nothing reaches a shell."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.sources import Lock, PythonSource, check_command, check_requirements
from cmbcluster.errors import InvalidInput


def test_a_locks_digest_ignores_comments_and_minds_python() -> None:
    lock = Lock("# made today\nnumpy==2.1 --hash=sha256:aa\n", "3.12", 1)
    assert lock.digest == Lock("numpy==2.1 --hash=sha256:aa", "3.12", 1).digest
    assert lock.digest != Lock("numpy==2.1 --hash=sha256:aa", "3.11", 1).digest
    assert lock.digest != Lock("numpy==2.1 --hash=sha256:ab", "3.12", 1).digest


def test_a_source_survives_the_database() -> None:
    from dataclasses import asdict

    source = PythonSource(("numpy", "scipy>1"), "3.12", "2025-11-15", "explorer")
    assert PythonSource.from_dict(asdict(source)) == source
    assert PythonSource.from_dict(asdict(source)).digest() == source.digest()


@given(st.text(max_size=120))
def test_a_command_is_refused_or_split_without_losing_a_word(text: str) -> None:
    try:
        arguments = check_command(text)
    except InvalidInput as refused:
        assert refused.field == "command"
        return
    assert arguments == tuple(shlex.split(text))
    assert shlex.split(shlex.join(arguments)) == list(arguments)


@given(st.text(max_size=200))
def test_requirements_are_refused_or_names_of_an_index(text: str) -> None:
    try:
        lines = check_requirements(text)
    except InvalidInput as refused:
        assert refused.field == "requirements"
        return
    for line in lines:
        assert not line.startswith("-")
        assert "://" not in line


def test_comments_are_dropped_and_markers_kept() -> None:
    text = "numpy # fast\n\n# nothing\nscipy>=1.10; python_version < '3.13'\n"
    assert check_requirements(text) == ("numpy", 'scipy>=1.10; python_version < "3.13"')


def test_too_many_requirements() -> None:
    with pytest.raises(InvalidInput, match="201 packages"):
        check_requirements("\n".join(f"p{number}" for number in range(201)))


def test_a_requirement_without_end_is_refused_in_few_words() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_requirements("six" * 5000)
    assert len(str(refused.value)) < 160
    assert check_requirements("six") == ("six",)
