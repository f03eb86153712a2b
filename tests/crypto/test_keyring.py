"""Signed tokens: ours verify, also after the keys were renewed, and nothing else does."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from cmbcluster.crypto import key_file
from cmbcluster.crypto import keyring as module
from cmbcluster.crypto.keyring import KEPT_KEYS, Keyring
from cmbcluster.errors import StartRefused

SECRET = b"s" * 32
CLAIMS = {"aud": "here", "exp": 1, "sid": "x"}


def ring() -> Keyring:
    return Keyring((("k1", SECRET),))


def part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_a_token_of_ours_carries_its_claims_for_its_audience_alone() -> None:
    token = ring().sign(CLAIMS)
    assert ring().verified(token, "here") == CLAIMS
    assert ring().verified(token, "there") is None


def test_a_token_without_a_signature_is_none() -> None:
    for algorithm in ("none", "None", "NONE", ""):
        token = f"{part({'alg': algorithm, 'kid': 'k1'})}.{part(CLAIMS)}."
        assert ring().verified(token, "here") is None


def test_a_token_of_another_key_or_algorithm_is_none() -> None:
    other = OctKey.import_key(b"o" * 32)
    same = OctKey.import_key(SECRET)
    assert ring().verified(jwt.encode({"alg": "HS256", "kid": "k1"}, CLAIMS, other), "here") is None
    assert ring().verified(jwt.encode({"alg": "HS256", "kid": "k2"}, CLAIMS, same), "here") is None
    assert ring().verified(jwt.encode({"alg": "HS256"}, CLAIMS, same), "here") is None
    longer = jwt.encode({"alg": "HS512", "kid": "k1"}, CLAIMS, same, algorithms=["HS512"])
    assert ring().verified(longer, "here") is None
    public = jwt.encode({"alg": "RS256", "kid": "k1"}, CLAIMS, RSAKey.generate_key(2048))
    assert ring().verified(public, "here") is None


@pytest.mark.parametrize(
    "claims", [{"aud": "here"}, {"aud": "here", "exp": "1"}, {"exp": 1}, {"aud": ["here"], "exp": 1}]
)
def test_claims_that_are_not_ours_are_none(claims: dict[str, object]) -> None:
    token = jwt.encode({"alg": "HS256", "kid": "k1"}, claims, OctKey.import_key(SECRET))
    assert ring().verified(token, "here") is None


@pytest.mark.parametrize(
    "token", ["", "x", "...", "a.b.c", "é" * 10, "x" * 100_000, "\x00", part({"alg": 1}) + ".e30.x"]
)
def test_anything_else_is_none(token: str) -> None:
    assert ring().verified(token, "here") is None


def test_a_changed_letter_spoils_it() -> None:
    token = ring().sign(CLAIMS)
    head, body, signature = token.split(".")
    forged = part({**CLAIMS, "sid": "y"})
    assert ring().verified(f"{head}.{forged}.{signature}", "here") is None
    assert ring().verified(f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}", "here") is None


def test_the_file_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "tokens.json"
    token = Keyring.of_file(path).sign(CLAIMS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert Keyring.of_file(path).verified(token, "here") == CLAIMS
    assert [entry.name for entry in path.parent.iterdir()] == ["tokens.json"]


def test_renewed_keys_sign_and_older_ones_verify_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN_SECONDS", 0.0)
    path = tmp_path / "tokens.json"
    here, other_replica = Keyring.of_file(path), Keyring.of_file(path)
    old = here.sign(CLAIMS)
    assert here.rotate() == 2
    new = here.sign(CLAIMS)
    assert other_replica.verified(new, "here") == CLAIMS
    assert here.verified(old, "here") == CLAIMS
    for _ in range(KEPT_KEYS - 1):
        here.rotate()
    assert here.verified(old, "here") is None


@pytest.mark.parametrize("text", ["", "{}", '{"keys": []}', '{"keys": [{"kid": "a", "key": "00"}]}', "[1]"])
def test_a_spoilt_file_refuses_the_start_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    with pytest.raises(StartRefused, match="sign in again"):
        Keyring.of_file(path)


def test_a_given_file_is_the_same_for_all_replicas_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "tokens.json"
    with pytest.raises(StartRefused, match="make-keys"):
        Keyring.of_given_file(path)
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text(module.new_file())
    before = path.read_bytes()
    here, other_replica = Keyring.of_given_file(path), Keyring.of_given_file(path)
    assert other_replica.verified(here.sign(CLAIMS), "here") == CLAIMS
    with pytest.raises(StartRefused, match="rotate-keys --print"):
        here.rotate()
    assert path.read_bytes() == before


def test_a_given_file_that_changes_signs_nobody_out_while_replicas_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(module.new_file())
    here, late = Keyring.of_given_file(path), Keyring(key_file.read(path, module.IF_LOST), None)
    old = here.sign(CLAIMS)
    path.write_text(here.renewed())
    monkeypatch.setattr(module, "READ_AGAIN_SECONDS", 0.0)
    # It knows the new key and signs with the one that every replica knows.
    during = here.sign(CLAIMS)
    assert late.verified(during, "here") == CLAIMS
    long_ago = path.stat().st_mtime - module.SETTLE_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    after = here.sign(CLAIMS)
    assert late.verified(after, "here") is None
    assert [here.verified(each, "here") for each in (old, during, after)] == [CLAIMS] * 3


def test_a_file_that_is_spoilt_later_signs_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokens.json"
    here = Keyring.of_file(path)
    token = here.sign(CLAIMS)
    monkeypatch.setattr(module, "READ_AGAIN_SECONDS", 0.0)
    path.write_text("half")
    assert here.verified(token, "here") == CLAIMS
