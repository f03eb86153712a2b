"""The shape of a catalogue file, and the reader of those shipped in this package.

One YAML file is one application. The files are a seed: they fill an empty catalogue, and
whatever an admin changes afterwards wins. Reading them must never touch the database, the
network or the clock, so that the same files always give the same digests.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from cmbcluster.domain.images import check_image
from cmbcluster.domain.interpreters import check_wanted_python
from cmbcluster.domain.sources import (
    Program,
    PythonSource,
    check_as_of,
    check_command,
    check_health_path,
    check_port,
    check_requirements,
)
from cmbcluster.domain.tiers import SIZES
from cmbcluster.errors import InvalidInput, StartRefused

PACKAGE = "cmbcluster.catalogue"
PLACEHOLDERS = ("{port}", "{address}", "{bundled}", "{python}", "{workspace}")

_WORD_IN_BRACES = re.compile(r"\{[A-Za-z_]\w*\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

Checked = TypeVar("Checked")
Line = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Strict(BaseModel):
    """No unknown field, no silent conversion, no change afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SeedKey(_Strict):
    """An API key the application can use."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{2,63}$")]
    optional: bool = False
    use: Annotated[str, Field(max_length=80)] = ""


class SeedSource(_Strict):
    """What the application is made of; the same words as in the form for one's own."""

    requirements: tuple[str, ...]
    python: str
    as_of: str = ""
    bundled: str = ""
    from_source: bool = False

    @field_validator("requirements", mode="before")
    @classmethod
    def _requirements(cls, value: Any) -> Any:
        """One package a line, as the form takes it."""
        return _ask(check_requirements, "\n".join(_list_of_text(value)))

    @field_validator("python", mode="before")
    @classmethod
    def _python(cls, value: Any) -> Any:
        """A version or a range; a bare 3.10 would have become the number 3.1."""
        if isinstance(value, float):
            raise ValueError('A version is text. Put it in quotation marks, like "3.12".')
        return _ask(check_wanted_python, value) if isinstance(value, str) else value

    @field_validator("as_of", mode="before")
    @classmethod
    def _as_of(cls, value: Any) -> Any:
        """A date; YAML reads one without quotation marks as a date already."""
        text = value.isoformat() if isinstance(value, date) else value
        # The clock of this machine does not decide whether a shipped file is right.
        return _ask(lambda day: check_as_of(day, date.max), text) if isinstance(text, str) else text

    @field_validator("bundled")
    @classmethod
    def _bundled(cls, value: str) -> str:
        """The name of a folder shipped below ``bundled``."""
        if value and value not in bundled_names():
            raise ValueError(f"There is no “{value}” in the folder “bundled”. It has {', '.join(bundled_names())}.")
        return value


class SeedProgram(_Strict):
    """How the application is started, and when it is ready."""

    command: tuple[str, ...]
    port: int
    health_path: str = "/"
    ready_within_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    environment: dict[str, str] = {}

    @field_validator("command", mode="before")
    @classmethod
    def _command(cls, value: Any) -> Any:
        """An argument list, held to the same rules as a command typed into the form."""
        arguments = tuple(_list_of_text(value))
        return _ask(check_command, shlex.join(arguments)) if arguments else ()

    @field_validator("port")
    @classmethod
    def _port(cls, value: int) -> int:
        return _ask(check_port, value)

    @field_validator("health_path")
    @classmethod
    def _health_path(cls, value: str) -> str:
        return _ask(check_health_path, value)

    @field_validator("environment")
    @classmethod
    def _environment(cls, value: dict[str, str]) -> dict[str, str]:
        """Names a process can have."""
        for name in value:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"“{name}” is not the name of an environment variable.")
        return value

    @model_validator(mode="after")
    def _placeholders(self) -> SeedProgram:
        """Nothing unknown stands in braces."""
        for place in self.places:
            for word in _WORD_IN_BRACES.findall(place):
                if word not in PLACEHOLDERS:
                    raise ValueError(f"{word} is not known. Use {', '.join(PLACEHOLDERS)}.")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """Everything in which words in braces mean something."""
        return (*self.command, *self.environment.values())


class SeedApplication(_Strict):
    """One application of the catalogue as a file describes it."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    name: Annotated[Line, Field(max_length=60)]
    category: Literal["Notebooks", "Agents", "Maps", "Your own"]
    summary: Annotated[Line, Field(max_length=160, pattern=r"^[^\x00-\x1f\x7f]+\.$")]
    icon: Literal["jupyter", "agent", "denario", "explorer", "custom"]
    position: Annotated[int, Field(ge=0, le=10_000)]
    size: str
    keys: tuple[SeedKey, ...] = ()
    source: SeedSource | None = None
    image: str = ""
    program: SeedProgram | None = None

    @field_validator("size")
    @classmethod
    def _size(cls, value: str) -> str:
        """One of the sizes of the launch dialog."""
        known = [size.id for size in SIZES]
        if value not in known:
            raise ValueError(f"“{value}” is not a size. Use one of {', '.join(known)}.")
        return value

    @field_validator("image")
    @classmethod
    def _image(cls, value: str) -> str:
        """An image in full, as it is shown and asked for."""
        return _ask(check_image, value).reference if value else ""

    @field_validator("program")
    @classmethod
    def _program(cls, value: SeedProgram | None, info: ValidationInfo) -> SeedProgram | None:
        """Packages need a command that is told its port; an image may know both by itself."""
        if value is None or (info.data.get("source") is None and info.data.get("image")):
            return value
        if not value.command:
            raise ValueError("There is no command.")
        if not any("{port}" in place for place in value.places):
            raise ValueError("The port is never used. Put {port} into the command or the environment.")
        return value

    @field_validator("keys", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        """YAML gives lists; a key is named once."""
        if not isinstance(value, list):
            return value
        names = [item.get("name") for item in value if isinstance(item, dict)]
        if len(names) != len(set(names)):
            raise ValueError("A key is named twice.")
        return tuple(value)

    @model_validator(mode="after")
    def _whole(self) -> SeedApplication:
        """Content and program come together, and what the command uses is there."""
        if (self.source is None and not self.image) != (self.program is None):
            raise ValueError(
                "“source” or “image”, and “program”, belong together. Write them, or none of them for a form that asks."
            )
        if self.program is None:
            return self
        text = "\n".join(self.program.places)
        if self.source is not None and not self.source.bundled and "{bundled}" in text:
            raise ValueError("{bundled} is used, but “source.bundled” names nothing.")
        if self.image:
            for word in ("{bundled}", "{python}"):
                if word in text:
                    raise ValueError(f"{word} is used, but an image has nothing of ours in it.")
        return self

    @property
    def needs_keys(self) -> tuple[str, ...]:
        """The names of the keys it can use, those it needs first."""
        return tuple(key.name for key in sorted(self.keys, key=lambda key: key.optional))

    def python_source(self) -> PythonSource | None:
        """The domain's source; its Python may be a range. None: a form asks for it."""
        if self.source is None:
            return None
        return PythonSource(
            requirements=self.source.requirements,
            python=self.source.python,
            as_of=self.source.as_of,
            bundled=self.source.bundled,
            from_source=self.source.from_source,
        )

    def as_program(self) -> Program | None:
        """The domain's program, or None when a form asks for it."""
        if self.program is None:
            return None
        return Program(
            command=self.program.command,
            port=self.program.port,
            health_path=self.program.health_path,
            ready_within_seconds=self.program.ready_within_seconds,
            environment=dict(self.program.environment),
        )

    def digest(self) -> str:
        """sha256 over everything that is said here; the layout of the file does not matter."""
        said = self.model_dump(mode="json")
        if self.source is not None and not self.source.from_source:
            # Digests are kept in databases: files that do not use the younger words keep theirs.
            del said["source"]["from_source"]
        if not self.image:
            del said["image"]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def parse_application(text: str, file_name: str) -> SeedApplication:
    """One application from the text of its file.

    Raises StartRefused naming the file, the field and what is wrong with it.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise StartRefused(f"{file_name}{where} is not YAML. Mend the file, then start again.") from wrong
    if not isinstance(data, dict):
        raise StartRefused(f"{file_name} holds no fields. Begin with “id:”, as docs/catalogue.md shows.")
    try:
        application = SeedApplication.model_validate(data)
    except ValidationError as wrong:
        raise StartRefused("\n".join(_sentences(wrong, file_name))) from wrong
    if f"{application.id}.yaml" != file_name:
        raise StartRefused(f"{file_name}, id: It is “{application.id}”. Name the file {application.id}.yaml.")
    return application


def load_seed(folder: Traversable | None = None) -> tuple[SeedApplication, ...]:
    """All applications shipped here (or in ``folder``), in the order of the catalogue.

    Raises StartRefused when a file is wrong or two claim the same position.
    """
    found = folder if folder is not None else files(PACKAGE)
    names = sorted(entry.name for entry in found.iterdir() if entry.name.endswith(".yaml"))
    applications = [parse_application(found.joinpath(name).read_text(encoding="utf-8"), name) for name in names]
    applications.sort(key=lambda application: application.position)
    for one, other in zip(applications, applications[1:], strict=False):
        if one.position == other.position:
            raise StartRefused(
                f"{one.id}.yaml and {other.id}.yaml both have position {one.position}. Give one of them another."
            )
    return tuple(applications)


def bundled_names() -> tuple[str, ...]:
    """The folders shipped below ``bundled``."""
    entries = files(PACKAGE).joinpath("bundled").iterdir()
    return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "_"))))


def _ask(check: Callable[[Any], Checked], value: Any) -> Checked:
    """Run a check of the domain; pydantic understands ValueError alone."""
    try:
        return check(value)
    except InvalidInput as wrong:
        raise ValueError(str(wrong)) from wrong


def _list_of_text(value: Any) -> list[str]:
    """``value`` if it is a list of texts; a number or a date in it was meant as text."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("This is a list of texts, one a line, each after a dash.")
    return list(value)


def _sentences(wrong: ValidationError, file_name: str) -> list[str]:
    """One line a fault: file, field, what is wrong."""
    lines = []
    for fault in wrong.errors(include_url=False):
        field = ".".join(str(part) for part in fault["loc"]) or "the whole file"
        said = {
            "extra_forbidden": "This field is not known.",
            "missing": "This field is missing.",
        }.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        lines.append(f"{file_name}, {field}: {said.rstrip('.')}.")
    return lines
