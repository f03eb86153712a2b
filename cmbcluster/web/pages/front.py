"""The page for visitors: what this is, and how to come in. Everything it says is true today."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import reflex as rx

from cmbcluster.web.components.kit import icon, mark, note
from cmbcluster.web.components.posting import Posting
from cmbcluster.wiring import parts

NEXT_LIMIT = 500


@dataclass(frozen=True)
class PersonChoice:
    """One of the people a development sign-in offers."""

    id: str = ""
    name: str = ""
    note: str = ""


@dataclass(frozen=True)
class ProviderChoice:
    """One of the providers that can be asked who somebody is."""

    name: str = ""
    start: str = ""


class FrontState(rx.State):
    """Who can sign in, and where they go then."""

    people: list[PersonChoice] = []
    providers: list[ProviderChoice] = []
    next_path: str = "/"
    ended: bool = False


def show_front(state: FrontState, next_path: str, *, ended: bool) -> None:
    """List the people; keep the address they came from when it is one of ours."""
    state.ended = ended
    state.people = [PersonChoice(str(p.id), str(p.name), str(p.note)) for p in parts().people]
    state.providers = [ProviderChoice(str(p.name), f"/auth/{p.id}/start") for p in parts().sign_ins.providers()]
    own = next_path.startswith("/") and not next_path.startswith(("//", "/\\")) and len(next_path) <= NEXT_LIMIT
    state.next_path = next_path if own else "/"


S: Any = FrontState  # Reflex turns its attributes into Vars


def _sky() -> rx.Component:
    return rx.el.svg(
        rx.el.svg.use(href="/sky.svg#sky"),
        class_name="skymap",
        custom_attrs={"aria-hidden": "true", "viewBox": "0 0 1200 600"},
    )


def _person(person: Any, number: Any) -> rx.Component:
    return rx.el.button(
        rx.el.span(f"Sign in as {person.name}", rx.el.small(person.note)),
        icon("right"),
        type="submit",
        name="person",
        value=person.id,
        class_name=rx.cond(number == 0, "btn lg go", "btn lg"),
    )


def _provider(provider: Any, number: Any) -> rx.Component:
    """The button says where its form goes, so that one form serves all of them."""
    return rx.el.button(
        f"Sign in with {provider.name}",
        icon("right"),
        type="submit",
        form_action=provider.start,
        class_name=rx.cond(number == 0, "btn lg go", "btn lg"),
    )


def _hero() -> rx.Component:
    """What it is, and the way in."""
    return rx.el.section(
        _sky(),
        rx.el.h1("Your analysis, running in its own place."),
        rx.el.p(
            "Pick JupyterLab, CMBAgent or Denario. Get a private environment with its own workspace "
            "and a time limit you can see.",
            class_name="lede",
        ),
        Posting.create(
            rx.cond(
                S.ended,
                note(
                    icon("clock"),
                    "Your session has ended. Sign in to go on where you were; what you typed is kept.",
                    tone="warn",
                    role="status",
                ),
            ),
            rx.el.input(type="hidden", name="next", value=S.next_path, read_only=True),
            rx.foreach(S.providers, _provider),
            rx.foreach(S.people, _person),
            rx.cond(
                S.people.length() > 0,
                rx.el.p("Test people of this machine. They exist on loopback only.", class_name="sm three mt4"),
            ),
            action="/auth/development",
            method="post",
            class_name="sign",
            aria_label="Sign in",
        ),
        class_name="hero",
    )


def _promises() -> rx.Component:
    """What one can rely on."""

    def say(title: str, text: str) -> rx.Component:
        return rx.el.div(rx.el.h2(title), rx.el.p(text))

    return rx.el.section(
        rx.el.div(
            say("Private by address", "Each environment has its own address, and it opens for you alone."),
            say("Its packages, pinned", "Every environment is built from a lock with hashes and keeps it."),
            say("Time you can see", "A countdown everywhere, a warning at 15 and 5 minutes, and your workspace kept."),
            say("Reasons, not codes", "When a launch fails, it says what happened and what to do next."),
        ),
        class_name="run",
        aria_label="What you can rely on",
    )


def front_page() -> rx.Component:
    """The whole page."""
    return rx.el.div(
        rx.el.a("Skip to content", href="#front", class_name="skip", reload_document=True),
        rx.el.header(rx.el.a(mark(), rx.el.span("CMBCluster"), href="/", class_name="brand"), class_name="front-top"),
        rx.el.main(_hero(), _promises(), id="front", tab_index=-1),
        rx.el.footer(
            rx.el.span(rx.cond(S.people.length() > 0, "CMBCluster on this machine", "CMBCluster")), class_name="end"
        ),
        class_name="front",
    )
