"""What a launch is made of: the catalogue's entry, or what a person wrote; packages, or an image.

Whether images can run is a fact of the runtime and known before anybody clicks; which of
them may is the operator's list. Both are asked here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from cmbcluster.db.models import Application, Environment
from cmbcluster.domain.contents import Source, source_of
from cmbcluster.domain.images import ImageSource, check_allowed, check_image
from cmbcluster.domain.interpreters import check_wanted_python
from cmbcluster.domain.orders import CustomOrder
from cmbcluster.domain.sources import (
    Program,
    PythonSource,
    check_as_of,
    check_command,
    check_health_path,
    check_image_command,
    check_port,
    check_requirements,
)
from cmbcluster.errors import Conflict, InvalidInput

NO_IMAGES = "This platform runs Python packages, not container images."


@dataclass(frozen=True)
class ImageRules:
    """Whether the runtime runs images, and the registries they may come from."""

    runs_images: bool
    registries: tuple[str, ...]


def made_of(
    application: Application, custom: CustomOrder | None, today: date, rules: ImageRules
) -> tuple[Source, Program]:
    """What will run: the catalogue's entry, or what the person wrote in the form."""
    if application.program is not None:
        image = usable_image(application, rules)
        if image is None and application.source is None:
            raise Conflict(why_unavailable(application, rules), "Choose another application.")
        program = Program.from_dict(application.program)
        return image or PythonSource.from_dict(application.source or {}), program
    if custom is None:
        raise InvalidInput(
            "requirements", "This application needs to know what to run.", "List its packages and start command."
        )
    return _image_of(custom, rules) if custom.image else _packages_of(custom, today)


def usable_image(application: Application, rules: ImageRules) -> ImageSource | None:
    """The image of an entry of the catalogue, where it can run and may."""
    if not application.image or not rules.runs_images:
        return None
    image = ImageSource(application.image)
    try:
        check_allowed(image, rules.registries)
    except InvalidInput:
        return None
    return image


def why_unavailable(application: Application, rules: ImageRules) -> str:
    """Why an entry of the catalogue cannot be launched here, in a sentence; empty when it can."""
    if application.program is None or application.source is not None or usable_image(application, rules):
        return ""
    if not rules.runs_images:
        return f"It is a container image. {NO_IMAGES}"
    return f"Images from {ImageSource(application.image).registry} are not allowed here."


def check_startable(row: Environment, rules: ImageRules) -> None:
    """Raises Conflict when the image of an environment cannot run here (any more)."""
    source = source_of(row.source)
    if not isinstance(source, ImageSource):
        return
    if not rules.runs_images:
        raise Conflict(f"It is made of a container image. {NO_IMAGES}", "Launch an application of packages instead.")
    try:
        check_allowed(source, rules.registries)
    except InvalidInput as refused:
        raise Conflict(refused.what, refused.then) from refused


def _packages_of(custom: CustomOrder, today: date) -> tuple[PythonSource, Program]:
    source = PythonSource(
        requirements=check_requirements(custom.requirements),
        python=check_wanted_python(custom.python),
        as_of=check_as_of(custom.as_of, today),
    )
    program = Program(
        command=check_command(custom.command),
        port=check_port(custom.port),
        health_path=check_health_path(custom.health_path),
    )
    return source, program


def _image_of(custom: CustomOrder, rules: ImageRules) -> tuple[ImageSource, Program]:
    if not rules.runs_images:
        raise InvalidInput("image", NO_IMAGES, "List packages instead, or ask whoever runs the platform.")
    if custom.requirements.strip():
        raise InvalidInput("image", "There are packages beside the image.", "Name an image, or list packages.")
    source = check_image(custom.image)
    check_allowed(source, rules.registries)
    program = Program(
        command=check_image_command(custom.command),
        port=check_port(custom.port),
        health_path=check_health_path(custom.health_path),
    )
    return source, program
