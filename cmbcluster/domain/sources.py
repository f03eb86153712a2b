"""What an environment is made of: requirements, a Python version, a date, a command.

A source is what a person writes; a lock is what it was resolved to, with hashes, and its
digest plays the part of an image digest. Commands are argument lists; nothing here or
below hands one to a shell.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from cmbcluster.errors import InvalidInput

REQUIREMENTS_LIMIT = 200
REQUIREMENT_LENGTH = 200
COMMAND_LIMIT = 64
_PYTHON = re.compile(r"3\.(\d{1,2})")
_HEALTH = re.compile(r"/[A-Za-z0-9._~/%?=&-]{0,199}")
_SHELL_OPERATORS = frozenset("();<>|&")
_SHELL_EXPANSIONS = frozenset("$`")


@dataclass(frozen=True)
class PythonSource:
    """Packages from an index, on a Python version, optionally as they were on a date.

    ``bundled`` names an application shipped in this package that is placed beside the
    packages. ``from_source`` allows packages without ready-made files, whose build scripts
    are then run. Users can set neither.
    """

    requirements: tuple[str, ...]
    python: str
    as_of: str = ""  # ISO date, or empty for the newest
    bundled: str = ""  # name of an application shipped in cmbcluster.catalogue, or empty
    from_source: bool = False

    def digest(self) -> str:
        """sha256 of the canonical form; equal sources have equal digests."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> PythonSource:
        """The source that ``dataclasses.asdict`` made ``kept`` from."""
        return cls(
            requirements=tuple(kept["requirements"]),
            python=str(kept["python"]),
            as_of=str(kept.get("as_of", "")),
            bundled=str(kept.get("bundled", "")),
            from_source=kept.get("from_source") is True,
        )


@dataclass(frozen=True)
class Lock:
    """A resolved source: the text of a hash-pinned requirements file."""

    text: str
    python: str
    packages: int

    @property
    def digest(self) -> str:
        """``sha256:…`` over Python version and text without comments."""
        lines = [line for line in self.text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return "sha256:" + hashlib.sha256("\n".join([self.python, *lines]).encode()).hexdigest()


@dataclass(frozen=True)
class Program:
    """How the application is started and when it is ready.

    In ``command`` and ``environment`` the words ``{port}`` and ``{address}`` stand for
    where the application has to listen. An empty command is the one of a container image.
    """

    command: tuple[str, ...]
    port: int
    health_path: str = "/"
    ready_within_seconds: int = 120
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Program:
        """The program that ``dataclasses.asdict`` made ``kept`` from."""
        return cls(
            command=tuple(kept["command"]),
            port=int(kept["port"]),
            health_path=str(kept["health_path"]),
            ready_within_seconds=int(kept["ready_within_seconds"]),
            environment={str(k): str(v) for k, v in kept.get("environment", {}).items()},
        )


def check_requirements(text: str) -> tuple[str, ...]:
    """The requirement lines of ``text``; blank lines and comments are dropped.

    Raises InvalidInput (field ``requirements``) naming the first line that is not a
    package requirement. Options, paths and addresses are refused: a lock with hashes of
    an index's files is what everything else relies on.
    """
    kept: list[str] = []
    for raw in text.splitlines():
        line = raw.split(" #", 1)[0].strip()
        if not line or line.startswith("#"):
            continue
        shown = line if len(line) <= 60 else line[:57] + "…"
        if len(line) > REQUIREMENT_LENGTH:
            raise InvalidInput(
                "requirements", f"“{shown}” is too long.", f"Write at most {REQUIREMENT_LENGTH} characters a line."
            )
        if line.startswith("-"):
            raise InvalidInput(
                "requirements",
                f"“{shown}” is an option, not a package.",
                "Write one package a line, like healpy>=1.16.",
            )
        try:
            requirement = Requirement(line)
        except InvalidRequirement as wrong:
            raise InvalidInput(
                "requirements",
                f"“{shown}” is not a package requirement.",
                "Write one package a line, like healpy>=1.16.",
            ) from wrong
        if requirement.url:
            raise InvalidInput(
                "requirements", f"“{shown}” points to an address.", "Name a package of the index instead."
            )
        kept.append(str(requirement))
    if not kept:
        raise InvalidInput("requirements", "There is no package in the list.", "Write at least one, one a line.")
    if len(kept) > REQUIREMENTS_LIMIT:
        raise InvalidInput("requirements", f"There are {len(kept)} packages.", f"List at most {REQUIREMENTS_LIMIT}.")
    return tuple(kept)


def check_python(text: str) -> str:
    """``3.N`` as written, for N from 9 to 20; raises InvalidInput (field ``python``)."""
    match = _PYTHON.fullmatch(text.strip())
    if match is None or not 9 <= int(match.group(1)) <= 20:
        raise InvalidInput("python", "That is not a Python version.", "Write it like 3.12.")
    return text.strip()


def check_as_of(text: str, today: date) -> str:
    """An ISO date not after ``today``, or the empty string; raises InvalidInput."""
    if not text.strip():
        return ""
    try:
        day = date.fromisoformat(text.strip())
    except ValueError as wrong:
        raise InvalidInput("as_of", "That is not a date.", "Write it like 2025-11-15, or leave it empty.") from wrong
    if day > today:
        raise InvalidInput("as_of", "That date is in the future.", "Choose today or earlier, or leave it empty.")
    if day.year < 2015:
        raise InvalidInput("as_of", "That date is too long ago.", "Choose 2015 or later, or leave it empty.")
    return day.isoformat()


def check_port(value: str | int) -> int:
    """A port from 1024 to 65535; raises InvalidInput (field ``port``)."""
    try:
        port = int(str(value).strip())
    except ValueError as wrong:
        raise InvalidInput("port", "A port is a number.", "Use one from 1024 to 65535, for example 8501.") from wrong
    if not 1024 <= port <= 65535:
        raise InvalidInput("port", f"Port {port} cannot be used.", "Use one from 1024 to 65535, for example 8501.")
    return port


def check_health_path(text: str) -> str:
    """A path that begins with a slash; raises InvalidInput (field ``health_path``)."""
    path = text.strip() or "/"
    if not _HEALTH.fullmatch(path):
        raise InvalidInput("health_path", "That is not a path.", "Begin with a slash, for example /health.")
    return path


def check_command(text: str) -> tuple[str, ...]:
    """The arguments of a start command, split as a shell would but never run by one.

    Raises InvalidInput (field ``command``) for unquoted shell operators, since they would
    silently become arguments.
    """
    if len(text) > 2000:
        raise InvalidInput("command", "That command is too long.", "Put the steps into a script of your package.")
    if any(ord(c) < 32 or ord(c) == 127 for c in text.strip()):
        raise InvalidInput("command", "The command has control characters in it.", "Write it on one line.")
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as wrong:
        raise InvalidInput("command", "A quotation mark in the command is not closed.", "Close it.") from wrong
    if not arguments:
        raise InvalidInput(
            "command",
            "There is no command.",
            "Write how to start it, for example streamlit hello --server.port {port}.",
        )
    if _has_unquoted_operator(text):
        raise InvalidInput(
            "command",
            "The command is started directly, not by a shell.",
            "Leave out | & ; < > ( ) $ and `, or put them in single quotation marks if they are part of an argument.",
        )
    if len(arguments) > COMMAND_LIMIT:
        raise InvalidInput("command", "The command has too many arguments.", f"Use at most {COMMAND_LIMIT}.")
    return arguments


def check_image_command(text: str) -> tuple[str, ...]:
    """Like ``check_command``, but nothing at all is the command that the image has."""
    return check_command(text) if text.strip() else ()


def _has_unquoted_operator(text: str) -> bool:
    """Whether ``text`` means something to a shell that it does not mean here.

    Operators do outside quotation marks, expansions also between double ones.
    """
    quote = ""
    escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char in _SHELL_EXPANSIONS and quote != "'":
            return True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _SHELL_OPERATORS:
            return True
    return False
