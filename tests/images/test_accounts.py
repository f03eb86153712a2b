"""The platform's own accounts, as operators have them in a file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cmbcluster.errors import StartRefused
from cmbcluster.images.accounts import platform_accounts

AUTH = base64.b64encode(b"robot:the-secret-word").decode()


def written(tmp_path: Path, found: Any) -> Path:
    path = tmp_path / "config.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


def test_no_file_no_accounts() -> None:
    assert platform_accounts(None) == ()


def test_what_docker_and_kubectl_write(tmp_path: Path) -> None:
    auths = {
        "https://index.docker.io/v1/": {"auth": AUTH},
        "ghcr.io": {"username": "robot", "password": "the-secret-word", "auth": AUTH},
        "registry.example.org:5000": {"username": "robot", "password": "the-secret-word"},
        "quay.io/team": {"auth": AUTH},
    }
    found = platform_accounts(written(tmp_path, {"auths": auths}))
    assert [each.rule for each in found] == ["docker.io", "ghcr.io", "registry.example.org:5000", "quay.io/team/*"]
    assert {(each.username, each.secret) for each in found} == {("robot", "the-secret-word")}
    assert "the-secret-word" not in repr(found)


@pytest.mark.parametrize(
    "found",
    [
        "{ the-secret-word",
        "[]",
        {},
        {"auths": {}},
        {"credsStore": "desktop"},
        {"auths": {"ghcr.io": {}}},
        {"auths": {"ghcr.io": {"auth": "the-secret-word!"}}},
        {"auths": {"ghcr.io": {"auth": base64.b64encode(b"no colon").decode()}}},
        {"auths": {"ghcr.io": {"username": "x", "password": ["the-secret-word"]}}},
        {"auths": {"ghcr.io": "the-secret-word"}},
        {"auths": {"not a host": {"auth": AUTH}}},
    ],
)
def test_what_cannot_be_used_is_said_without_repeating_it(tmp_path: Path, found: Any) -> None:
    with pytest.raises(StartRefused, match="CMB_REGISTRY_CREDENTIALS_FILE") as refused:
        platform_accounts(written(tmp_path, found))
    assert "the-secret-word" not in str(refused.value)
    assert AUTH not in str(refused.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="cannot be read"):
        platform_accounts(tmp_path / "nowhere.json")
