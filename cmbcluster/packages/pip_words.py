"""What the user told pip, in uv's words.

People who have an index, a mirror or a certificate configured for pip expect it to hold
here too. uv's own choices win. This module must never log a value: addresses of indexes
can carry passwords.
"""

from __future__ import annotations

import configparser
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

# pip's word, uv's variable, other variables of uv that mean the same, keys of uv.toml, how lists are joined.
_WORDS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], str], ...] = (
    ("index-url", "UV_DEFAULT_INDEX", ("UV_INDEX_URL",), ("index", "index-url"), ""),
    ("extra-index-url", "UV_INDEX", ("UV_EXTRA_INDEX_URL",), ("index", "extra-index-url"), " "),
    ("find-links", "UV_FIND_LINKS", (), ("find-links",), ","),
    ("trusted-host", "UV_INSECURE_HOST", (), ("allow-insecure-host",), " "),
    ("cert", "SSL_CERT_FILE", (), (), ""),
    ("proxy", "ALL_PROXY", ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "all_proxy"), (), ""),
    ("default-timeout", "UV_HTTP_TIMEOUT", (), (), ""),
    ("timeout", "UV_HTTP_TIMEOUT", (), (), ""),
)


def in_words_of_uv(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Variables for uv made of pip's files and ``PIP_*``, where uv itself was told nothing."""
    told = _pip_settings(environ, home)
    uv_file = _uv_file_keys(environ, home)
    made: dict[str, str] = {}
    for word, variable, same, keys, join in _WORDS:
        value = told.get(word, "").split()
        if not value or variable in made or any(environ.get(name) for name in (variable, *same)):
            continue
        if uv_file.intersection(keys):
            continue
        made[variable] = join.join(value) if join else value[0]
    return made


def _pip_settings(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """pip's settings: its files from the widest to the nearest, then its variables."""
    named = environ.get("PIP_CONFIG_FILE", "")
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        home / "Library" / "Application Support" / "pip" / "pip.conf",
        config_home / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    told: dict[str, str] = {}
    if named != os.devnull:
        for file in [*files, *([Path(named)] if named else [])]:
            told.update(_one_file(file))
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            told[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return told


def _one_file(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(file, encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    told: dict[str, str] = {}
    for section in ("global", "download", "install"):
        if parser.has_section(section):
            told.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return told


def _uv_file_keys(environ: Mapping[str, str], home: Path) -> set[str]:
    """The keys of the user's and the system's uv.toml, those of its ``pip`` table too."""
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    named = environ.get("UV_CONFIG_FILE", "")
    keys: set[str] = set()
    for file in (Path("/etc/uv/uv.toml"), config_home / "uv" / "uv.toml", *([Path(named)] if named else [])):
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        keys.update(content)
        pip_table = content.get("pip")
        if isinstance(pip_table, dict):
            keys.update(pip_table)
    return keys
