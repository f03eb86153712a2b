"""The launch dialog: name, size, time, and for one's own application what it is made of."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx

from cmbcluster.web.components.kit import button, field, glyph, icon, note, text_area, text_input, tile
from cmbcluster.web.js.parts import DialogClose, DialogTitle, Form, Sheet
from cmbcluster.web.launch import Launch

LAUNCH: Any = Launch  # Reflex turns its attributes into Vars

ERRORS: Any = LAUNCH.errors
BEGIN: Any = LAUNCH.beginnings


def _size(size: Any) -> rx.Component:
    return rx.el.label(
        rx.el.input(type="radio", name="size", value=size.id, default_checked=size.usual, class_name="hush"),
        rx.el.b(size.name),
        rx.el.span(size.words),
        rx.el.span(icon("check"), class_name="tick"),
        class_name="size",
        key=size.id,
    )


def _time() -> rx.Component:
    def option(t: Any) -> rx.Component:
        return rx.el.option(t.words, value=t.seconds, key=t.seconds)

    return field(
        "uptime",
        "Stop after",
        rx.el.select(
            rx.foreach(LAUNCH.times, option),
            name="uptime",
            id="f-uptime",
            default_value=LAUNCH.offer.uptime,
            class_name="inp",
            custom_attrs={"aria-describedby": "uptime-hint"},
        ),
        ERRORS,
        LAUNCH.offer.uptime_hint,
    )


def _packages() -> rx.Component:
    return field(
        "requirements",
        "Packages",
        text_area(
            "requirements",
            ERRORS,
            rows=4,
            default_value=BEGIN.requirements,
            placeholder="streamlit>=1.52\nhealpy",
        ),
        ERRORS,
        "One requirement a line, from the package index.",
    )


def _content() -> rx.Component:
    """The choice between packages and an image; both parts of the form stay, so that nothing typed is lost."""

    def choice(value: str, name: str, says: str, on: Any) -> rx.Component:
        return rx.el.label(
            rx.el.input(type="radio", name="content", value=value, default_checked=on, class_name="hush"),
            rx.el.b(name),
            rx.el.span(says),
            rx.el.span(icon("check"), class_name="tick"),
            class_name="size",
        )

    return rx.el.fieldset(
        rx.el.legend("Made of", class_name="lab"),
        rx.el.div(
            choice("packages", "Python packages", "From the package index", ~BEGIN.is_image),
            choice("image", "Container image", "From a registry", BEGIN.is_image),
            class_name="sizes two-wide",
        ),
    )


def _image() -> rx.Component:
    return field(
        "image",
        "Image",
        text_input(
            "image",
            ERRORS,
            default_value=BEGIN.image,
            placeholder="ghcr.io/team/app:1.0",
            max_length=500,
            attrs={"data-mono": ""},
        ),
        ERRORS,
        rx.fragment(
            "A tag is pinned to what it stands for when you launch. Private ones need your account under ",
            rx.el.a("Registries", href="/settings?tab=registries", class_name="link"),
            ".",
        ),
    )


def _command() -> rx.Component:
    """The start command; of an image it may be left out, and its label says so."""
    label = rx.fragment("Start command", rx.el.span(" (optional)", class_name="of-image inline"))
    return field(
        "command",
        label,
        text_input(
            "command",
            ERRORS,
            default_value=BEGIN.command,
            placeholder="streamlit hello --server.port {port}",
            attrs={"data-mono": ""},
        ),
        ERRORS,
        rx.fragment(
            rx.el.span("Left empty, it is the image's own. ", class_name="of-image inline"),
            "Started directly, not by a shell, in its workspace. {port} and {address} stand for where it listens.",
        ),
    )


def _beginning(name: str, label: str, hint: str, begin: Any, **props: Any) -> rx.Component:
    """A short field that has something in it when the dialog opens."""
    return field(name, label, text_input(name, ERRORS, default_value=begin, **props), ERRORS, hint)


def _own_fields() -> rx.Component:
    """What one's own application is made of."""
    return rx.el.div(
        rx.cond(LAUNCH.offer.takes_image, _content()),
        rx.cond(LAUNCH.offer.takes_image, rx.el.div(_image(), class_name="of-image")),
        rx.el.div(_packages(), class_name="of-packages"),
        _command(),
        rx.el.div(
            _beginning("python", "Python", "Like 3.12, or a range.", BEGIN.python),
            _beginning(
                "as_of",
                "Packages as of (optional)",
                "Takes the index as it was that day.",
                BEGIN.as_of,
                type="date",
            ),
            class_name="row gap16 top of-packages",
        ),
        rx.el.div(
            _beginning("port", "Port", "1024 to 65535.", BEGIN.port, input_mode="numeric"),
            _beginning("health_path", "Health path", "It is ready when this answers.", BEGIN.health_path),
            class_name="row gap16 top",
        ),
        class_name="own",
    )


def _body() -> rx.Component:
    offer = LAUNCH.offer
    choose = rx.el.a("Choose one to stop", href="/environments?phase=running", class_name="link")
    return rx.el.div(
        rx.cond(offer.full, note(icon("warn"), offer.full, " ", choose, tone="warn")),
        rx.cond(ERRORS["form"], note(icon("warn"), ERRORS["form"], tone="bad", role="alert")),
        rx.cond(ERRORS["size"], note(icon("warn"), ERRORS["size"], tone="bad", role="alert")),
        field(
            "name",
            "Name",
            text_input("name", ERRORS, first=True, default_value=offer.suggestion, max_length=200),
            ERRORS,
            f"Also the start of its address, below {offer.host}.",
        ),
        rx.cond(offer.own, _own_fields()),
        rx.el.fieldset(
            rx.el.legend("Size", class_name="lab"), rx.el.div(rx.foreach(LAUNCH.sizes, _size), class_name="sizes")
        ),
        rx.el.div(
            _time(),
            rx.el.div(
                rx.el.span("Workspace", class_name="lab"),
                rx.el.span("New and empty", class_name="inp static"),
                rx.el.span("Kept when the environment stops.", class_name="hint"),
                class_name="field grow",
            ),
            class_name="row gap16 top",
        ),
        rx.cond(
            offer.needs,
            note(icon("key"), rx.el.b("It asks for keys: ", class_name="b"), offer.needs, ". Enter them inside it."),
        ),
        class_name="body",
    )


def launch_dialog() -> rx.Component:
    """The dialog, filled by ``Launch``."""
    offer = LAUNCH.offer
    close = rx.el.button(icon("x"), type="button", class_name="btn flat sq", aria_label="Close")
    submit = rx.el.button(
        rx.cond(LAUNCH.busy, rx.fragment(glyph("starting", "", "turn"), "Launching…"), "Launch"),
        type="submit",
        class_name="btn go",
        aria_disabled=LAUNCH.busy,
        aria_busy=LAUNCH.busy,
        disabled=offer.full != "",
    )
    return Sheet.create(
        rx.el.header(
            tile(offer.icon, "lg"),
            rx.el.div(
                DialogTitle.create(rx.el.h2(offer.title), as_child=True),
                rx.el.p(offer.line, class_name="sm three"),
                class_name="grow",
            ),
            DialogClose.create(close, as_child=True),
        ),
        Form.create(
            _body(),
            rx.el.footer(
                rx.el.span(offer.place, class_name="sm three hide-s"),
                DialogClose.create(button("Cancel", cls="push"), as_child=True),
                submit,
            ),
            # Another application, or another suggestion, is another form: nothing of the one before stays in it.
            key=offer.id + " " + offer.suggestion,
            errors=ERRORS,
            on_send=LAUNCH.order,
            on_check=LAUNCH.check,
            label="Launch",
        ),
        open=LAUNCH.is_open,
        on_open_change=LAUNCH.close,
    )
