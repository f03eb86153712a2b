"""What a person asks for, as they typed it. The services validate every field."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CustomOrder:
    """The raw text of the form for a person's own application: packages, or an image."""

    requirements: str
    python: str
    as_of: str
    command: str
    port: str
    health_path: str = "/"
    image: str = ""  # a container image in place of packages


@dataclass(frozen=True)
class LaunchOrder:
    """A click on *Launch*. ``size`` and ``uptime_seconds`` None: the usual ones."""

    application_id: str
    name: str
    size: str | None
    uptime_seconds: int | None
    custom: CustomOrder | None = None
