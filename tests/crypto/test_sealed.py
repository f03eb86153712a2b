"""What is sealed opens for its purpose, with our keys, and in no other way."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.crypto.sealed import CannotOpen, Sealer
from cmbcluster.errors import StartRefused

SEALER = Sealer((("test", b"k" * 32),))


@given(st.text(max_size=200), st.text(max_size=40))
def test_it_opens_for_its_purpose_alone(secret: str, purpose: str) -> None:
    sealed = SEALER.seal(secret, purpose)
    assert SEALER.open(sealed, purpose) == secret
    with pytest.raises(CannotOpen):
        SEALER.open(sealed, purpose + "x")
    with pytest.raises(CannotOpen):
        Sealer((("other", b"o" * 32),)).open(sealed, purpose)


def test_nothing_of_it_can_be_read_or_changed() -> None:
    sealed = SEALER.seal("a-word-to-find", "p")
    assert "a-word-to-find" not in sealed
    assert SEALER.seal("a-word-to-find", "p") != sealed
    for place in (0, 30, len(sealed) - 5):
        other = "A" if sealed[place] != "A" else "B"
        with pytest.raises(CannotOpen):
            SEALER.open(sealed[:place] + other + sealed[place + 1 :], "p")
    for nonsense in ("", "x", "ü"):
        with pytest.raises(CannotOpen):
            SEALER.open(nonsense, "p")


def test_the_file_is_made_private_and_renewed_without_losing_anything(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secrets.json"
    sealer = Sealer.of_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    old = sealer.seal("word", "p")
    first = json.loads(path.read_text())["keys"][0]
    for number in range(2, 6):
        assert sealer.renew() == number
    assert json.loads(path.read_text())["keys"][-1] == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Sealer.of_file(path)
    assert again.open(old, "p") == "word"
    assert again.open(sealer.seal("word", "p"), "p") == "word"
    newest_alone = Sealer(((json.loads(path.read_text())["keys"][0]["kid"], _first_key(path)),))
    with pytest.raises(CannotOpen):
        newest_alone.open(old, "p")
    assert newest_alone.open(sealer.seal("word", "p"), "p") == "word"


@pytest.mark.parametrize("text", ["", "{}", '{"keys": []}', '{"keys": [{"kid": "a", "key": "00"}]}', "[1]"])
def test_a_broken_file_is_said_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)
    with pytest.raises(StartRefused, match="enter their accounts"):
        Sealer.of_file(path)
    assert path.read_text() == text


def test_keys_without_a_file_are_not_renewed() -> None:
    with pytest.raises(StartRefused):
        SEALER.renew()


def _first_key(path: Path) -> bytes:
    return bytes.fromhex(json.loads(path.read_text())["keys"][0]["key"])
