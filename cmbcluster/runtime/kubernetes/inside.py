"""What a program finds inside its pod: its variables, and what the words in braces stand for.

The variables are built from nothing. Values a person gave are never among them: those come
from a secret and only their names are written here.
"""

from __future__ import annotations

from collections.abc import Mapping

from cmbcluster.domain.sources import Program

WORKSPACE = "/workspace"
PERSON = "researcher"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - a pod has an address of its own, and policies say who may reach it


def places(program: Program, build: str) -> dict[str, str]:
    """What the words in braces stand for. ``build`` is empty for an image, which brings its own Python."""
    return {
        "port": str(program.port),
        "address": ANY_ADDRESS,
        "bundled": f"{build}/bundled" if build else "",
        "python": f"{build}/bin/python" if build else "python3",
        "workspace": WORKSPACE,
    }


def fill(text: str, words: Mapping[str, str]) -> str:
    """``text`` with the words in braces replaced."""
    for word, value in words.items():
        text = text.replace("{" + word + "}", value)
    return text


def command(program: Program, build: str) -> list[str]:
    """The program's arguments, filled in."""
    words = places(program, build)
    return [_as_it_stands(fill(word, words)) for word in program.command]


def _as_it_stands(text: str) -> str:
    """Kubernetes would expand $(NAME) and make one of two dollar signs, also of those in $$(NAME)."""
    return text.replace("$", "$$")


def variables(program: Program, build: str) -> dict[str, str]:
    """The variables that are no secret."""
    made = {
        "HOME": WORKSPACE,
        "USER": PERSON,
        "LOGNAME": PERSON,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONUNBUFFERED": "1",
        "XDG_CONFIG_HOME": f"{WORKSPACE}/.config",
        "XDG_CACHE_HOME": f"{WORKSPACE}/.cache",
        "XDG_DATA_HOME": f"{WORKSPACE}/.local/share",
        "XDG_STATE_HOME": f"{WORKSPACE}/.local/state",
    }
    if build:
        made["PATH"] = f"{build}/bin:/usr/local/bin:/usr/bin:/bin"
        made["VIRTUAL_ENV"] = build
        # The volume is read-only here; looking for a place to write bytecode would only cost time.
        made["PYTHONDONTWRITEBYTECODE"] = "1"
        made["SHELL"] = "/bin/bash"
    words = places(program, build)
    made.update({name: _as_it_stands(fill(value, words)) for name, value in program.environment.items()})
    return {name: value for name, value in made.items() if name and "=" not in name and "\0" not in name + value}
