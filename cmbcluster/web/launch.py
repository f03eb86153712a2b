"""The launch dialog's state: what is offered, what is wrong, and the order itself.

Checks a field with the rules of ``domain`` when it is left; the service checks all of it
again. Must never keep what was typed: the browser's own fields do.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import reflex as rx

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.images import ImageSource, check_image
from cmbcluster.domain.interpreters import ANY_PYTHON, check_wanted_python
from cmbcluster.domain.naming import NAME_LIMIT, clean_name
from cmbcluster.domain.orders import CustomOrder, LaunchOrder
from cmbcluster.domain.sources import (
    check_as_of,
    check_command,
    check_health_path,
    check_port,
    check_requirements,
)
from cmbcluster.domain.tiers import usual_uptime_seconds
from cmbcluster.domain.views import ApplicationView, EnvironmentView, LimitsView
from cmbcluster.errors import Conflict, InvalidInput, NotFound, UserError
from cmbcluster.web.access import signed_in
from cmbcluster.web.arguments import environment_id, fields, text, whole
from cmbcluster.web.guard import actor_of
from cmbcluster.web.shell import tell, telling
from cmbcluster.web.words import about_words, hours_words, icon_of, ordinal, size_words
from cmbcluster.wiring import parts

FIELDS = (
    "name", "size", "uptime", "image", "requirements", "python", "as_of", "command", "port", "health_path", "form"
)  # fmt: skip
OF_PACKAGES = ("name", "requirements", "python", "as_of", "command", "port", "health_path")
OF_IMAGE = ("name", "image", "port", "health_path")
PLACES = re.compile(r"\{(?:port|address)\}")
NUMBER = re.compile(r"-\d{1,3}$")
CHECKS: dict[str, Callable[[str], object]] = {
    "name": clean_name,
    "image": check_image,
    "requirements": check_requirements,
    "python": check_wanted_python,
    "as_of": lambda value: check_as_of(value, datetime.now(UTC).date()),
    "command": check_command,
    "port": check_port,
    "health_path": check_health_path,
}


@dataclass(frozen=True)
class SizeChoice:
    """One size."""

    id: str = ""
    name: str = ""
    words: str = ""
    usual: bool = False


@dataclass(frozen=True)
class TimeChoice:
    """One length of time."""

    seconds: str = ""
    words: str = ""


@dataclass(frozen=True)
class Beginnings:
    """What stands in the fields of one's own application before anything is typed."""

    requirements: str = ""
    command: str = ""
    python: str = ANY_PYTHON
    port: str = "8501"
    as_of: str = ""
    health_path: str = "/"
    image: str = ""
    is_image: bool = False


@dataclass(frozen=True)
class Offer:
    """What the dialog is about."""

    id: str = ""
    title: str = ""
    icon: str = "custom"
    line: str = ""
    needs: str = ""
    own: bool = False
    takes_image: bool = False
    suggestion: str = ""
    host: str = ""
    uptime: str = ""
    uptime_hint: str = ""
    place: str = ""
    full: str = ""


class Launch(rx.State):
    """The launch dialog."""

    is_open: bool = False
    busy: bool = False
    offer: Offer = Offer()
    beginnings: Beginnings = Beginnings()
    sizes: list[SizeChoice] = []
    times: list[TimeChoice] = []
    errors: dict[str, str] = {}

    @rx.event
    @signed_in
    async def begin(self, application_id: str) -> None:
        """Open the dialog for one application."""
        await begin_launch(self, text(application_id, 60))

    @rx.event
    @signed_in
    async def close(self, is_open: bool = False) -> Any:
        """Close it; an address that opened it is tidied."""
        if is_open is True:
            return None
        self.is_open = False
        if "launch" in self.router.url.query_parameters:
            return rx.redirect("/catalogue", replace=True)
        return None

    @rx.event
    @signed_in
    async def check(self, name: str, value: str) -> None:
        """Check one field that was left, or that was wrong before."""
        name = text(name, 40)
        if name not in CHECKS:
            return
        # An image has a command of its own; whether one is needed is asked when the form is sent.
        empty_command = name == "command" and not text(value).strip()
        self.errors = {**self.errors, name: "" if empty_command else problem_of(name, text(value))}

    @rx.event
    @signed_in
    async def order(self, form: dict[str, str]) -> Any:
        """Launch what the form says."""
        given = fields(form)
        self.busy = True
        yield
        async with telling(self) as shell:
            wrong = self._wrong(given)
            if any(wrong.values()):
                self.errors, self.busy = wrong, False
                return
            try:
                view = await parts().environments.launch(await actor_of(self), _order(self.offer, given))
            except UserError as refused:
                self.errors = _refusal(refused)
                self.busy = False
                return
            self.errors, self.is_open, self.busy = {}, False, False
            tell(shell, f"{view.name} is on its way.", "You may close this page.", about=str(view.id))
            yield rx.redirect(f"/environments/{view.id}")
        self.busy = False

    def _wrong(self, given: dict[str, str]) -> dict[str, str]:
        if not self.offer.own:
            return {"name": problem_of("name", given.get("name", ""))}
        if not _is_image(given):
            return {name: problem_of(name, given.get(name, "")) for name in OF_PACKAGES}
        wrong = {name: problem_of(name, given.get(name, "")) for name in OF_IMAGE}
        return wrong | ({"command": problem_of("command", given["command"])} if given.get("command") else {})


def problem_of(name: str, value: str) -> str:
    """What is wrong with a field, in a sentence or two, or the empty string."""
    try:
        CHECKS[name](value)
    except UserError as wrong:
        return str(wrong)
    return ""


def _is_image(given: dict[str, str]) -> bool:
    return given.get("content") == "image"


def _refusal(refused: UserError) -> dict[str, str]:
    """A refusal at its field, or above the form."""
    at = refused.field if isinstance(refused, InvalidInput) and refused.field in FIELDS else "form"
    return {at: str(refused)}


def _order(offer: Offer, given: dict[str, str]) -> LaunchOrder:
    custom = None
    if offer.own:
        # What was typed for the other choice is still in the form, and means nothing.
        image = _is_image(given)
        custom = CustomOrder(
            image=given.get("image", "") if image else "",
            requirements="" if image else given.get("requirements", ""),
            python="" if image else given.get("python", ""),
            as_of="" if image else given.get("as_of", ""),
            command=given.get("command", ""),
            port=given.get("port", ""),
            health_path=given.get("health_path", "") or "/",
        )
    return LaunchOrder(
        application_id=offer.id,
        name=given.get("name", ""),
        size=given.get("size", ""),
        uptime_seconds=whole(given.get("uptime", "")),
        custom=custom,
    )


async def begin_launch(state: Launch, application_id: str, from_id: str = "") -> None:
    """Fill the dialog for one application and open it.

    ``from_id`` names an environment of the person's own application to begin from; one
    that is missing, foreign or made of something else leaves the form as it always is.
    """
    async with telling(state):
        actor, services = await actor_of(state), parts()
        view = await services.catalogue.application(actor, application_id)
        if view.unavailable:
            raise Conflict(f"{view.name} cannot be launched here.", view.unavailable)
        limits = await services.accounts.limits(actor)
        before = await _before(actor, view, from_id)
        base = _base_name(before.name if before else view.id)
        kept = await services.environments.page(actor, search=base, limit=100)
        offer = _offer(view, limits, _free_name(base, {row.name for row in kept.rows}), services.settings.host)
        if before and before.uptime_seconds in limits.uptimes_seconds:
            offer = replace(offer, uptime=str(before.uptime_seconds))
        state.offer = offer
        state.beginnings = _beginnings(before) if before else Beginnings()
        usual = _usual_size(view, limits, before)
        state.sizes = [
            SizeChoice(size.id, size.name, size_words(size.cpu_millis, size.memory_bytes), size.id == usual)
            for size in limits.sizes
        ]
        state.times = [TimeChoice(str(s), hours_words(s)) for s in limits.uptimes_seconds]
        state.errors, state.busy, state.is_open = {}, False, True


async def _before(actor: Actor, view: ApplicationView, from_id: str) -> EnvironmentView | None:
    """The environment to begin from, when it is the person's and made of what they wrote themselves."""
    if not from_id or view.program is not None:
        return None
    try:
        found = await parts().environments.get(actor, environment_id(from_id))
    except NotFound:
        return None
    return found if found.application_id == view.id else None


def _beginnings(before: EnvironmentView) -> Beginnings:
    """The fields as they were when ``before`` was launched."""
    source, program = before.source, before.program
    either = Beginnings(command=command_words(program.command), port=str(program.port), health_path=program.health_path)
    if isinstance(source, ImageSource):
        return replace(either, image=source.reference, is_image=True)
    return replace(either, requirements="\n".join(source.requirements), python=source.python, as_of=source.as_of)


def command_words(command: tuple[str, ...]) -> str:
    """A command as it would be typed: ``check_command`` splits it into the same arguments."""
    return " ".join(argument if _is_plain(argument) else shlex.quote(argument) for argument in command)


def _is_plain(argument: str) -> bool:
    """Whether an argument needs no quotation marks; ``{port}`` and ``{address}`` need none."""
    bare = PLACES.sub("0", argument)
    return shlex.quote(bare) == bare


def _usual_size(view: ApplicationView, limits: LimitsView, before: EnvironmentView | None) -> str:
    """The size that is chosen at first: the one from before, the application's, or the largest."""
    if before is not None:
        had = (before.cpu_millis, before.memory_bytes)
        for size in limits.sizes:
            if (size.cpu_millis, size.memory_bytes) == had:
                return size.id
    fitting = [size.id for size in limits.sizes]
    return view.size if view.size in fitting else (fitting[-1] if fitting else "")


def _base_name(name: str) -> str:
    """A name without its number, short enough for another one."""
    return NUMBER.sub("", name)[: NAME_LIMIT - 4].strip("-")


def _free_name(base: str, names: set[str]) -> str:
    """A name that is free: the base, with a number from the second on."""
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in names:
        number += 1
    return name


def _offer(view: ApplicationView, limits: LimitsView, suggestion: str, host: str) -> Offer:
    most = limits.limits
    uptime = usual_uptime_seconds(most)
    full = ""
    if limits.running >= most.running_at_once:
        full = f"You have {limits.running} of {most.running_at_once} running. Stop one, then launch this."
    elif limits.kept >= most.kept:
        full = f"You keep {limits.kept} of {most.kept} environments. Delete one, then launch this."
    if most.extensions is None:
        more = f"Extend any time, {hours_words(most.longest_uptime_seconds)} ahead at most."
    else:
        times = "once" if most.extensions == 1 else f"{most.extensions} times"
        more = f"Extend {times}, by {hours_words(most.extension_seconds)}."
    takes = f"starts in about {about_words(view.usual_start_seconds)}" if view.usual_start_seconds else ""
    return Offer(
        id=view.id,
        title=_title(view),
        icon=icon_of(view.icon),
        line=" · ".join(part for part in (view.category, takes) if part),
        needs=", ".join(view.needs_keys),
        own=view.program is None,
        takes_image=view.takes_image,
        suggestion=suggestion,
        host=host,
        uptime=str(uptime),
        uptime_hint=f"Counts from when it runs. {more}",
        place="" if full else f"It will be your {ordinal(limits.running + 1)} of {most.running_at_once} running.",
        full=full,
    )


def _title(view: ApplicationView) -> str:
    """``Launch JupyterLab``; what is no name of a thing goes on in small letters."""
    name = view.name if view.program is not None else view.name[:1].lower() + view.name[1:]
    return f"Launch {name}"
