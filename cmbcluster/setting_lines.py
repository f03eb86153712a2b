"""The settings as a person reads them: each with its value and where it came from, and ``.env.example``.

This module must never show a secret.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from dotenv import dotenv_values
from pydantic import SecretStr

from cmbcluster.cluster_settings import ClusterSettings
from cmbcluster.image_settings import ImageSettings
from cmbcluster.role_settings import RoleSettings
from cmbcluster.settings import ENV_FILE, PREFIX, Settings


@dataclass(frozen=True)
class SettingLine:
    """One setting as shown to a person. ``value`` is masked when it is a secret."""

    name: str
    value: str
    source: Literal["default", "file", "environment", "derived"]
    description: str


def _fields() -> list[str]:
    """Names of all settings; those of single parts come behind those of the whole, and those of separate roles last."""
    inherited = [*ImageSettings.model_fields, *ClusterSettings.model_fields, *RoleSettings.model_fields]
    return [*(name for name in Settings.model_fields if name not in inherited), *inherited]


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def setting_lines(settings: Settings) -> tuple[SettingLine, ...]:
    """Every setting in force with where its value came from, in the order of the class."""
    in_environment = {name.upper() for name in os.environ}
    in_file = {name.upper() for name, value in dotenv_values(ENV_FILE).items() if value is not None}
    lines = []
    for field in _fields():
        info = Settings.model_fields[field]
        name = PREFIX + field.upper()
        source: Literal["default", "file", "environment", "derived"] = "default"
        if name in in_environment:
            source = "environment"
        elif name in in_file:
            source = "file"
        elif info.default_factory is None and getattr(settings, field) != info.default:
            # It follows from another setting.
            source = "derived"
        lines.append(SettingLine(name, _shown(getattr(settings, field)), source, info.description or ""))
    return tuple(lines)


def example_file() -> str:
    """The text of ``.env.example``: every setting, commented out, with its default."""
    parts = [
        "# Every setting of CMBCluster with its default. Written by `cmbcluster settings --example`;",
        "# copy to .env and take the # away from what you change. The environment goes before this file.",
    ]
    for field in _fields():
        info = Settings.model_fields[field]
        computed = info.default_factory is not None
        value = "" if computed else _shown(info.default)
        note = " Default: the user data folder of this platform." if field == "data_dir" else ""
        parts += ["", f"# {info.description}{note}", f"# {PREFIX}{field.upper()}={value}"]
    return "\n".join(parts) + "\n"
