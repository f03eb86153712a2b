"""The small pieces: icons, phases, tiles, buttons, fields, meters, empty places, skeletons."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx

Text = str | rx.Var[str]
Child = rx.Component | str | rx.Var[Any]


def styled(**properties: Any) -> dict[str, Any]:
    """A true style attribute: ``custom_attrs=styled(width="40%")``. ``style=`` would be a class."""
    names = {name if name.startswith("--") else name: value for name, value in properties.items()}
    return {"style": rx.Var.create(names)}


def css_vars(**values: Any) -> dict[str, Any]:
    """Custom properties for one element: ``css_vars(a="4%")`` sets ``--a``."""
    return {"style": rx.Var.create({f"--{name}": value for name, value in values.items()})}


def icon(name: Text, cls: Text = "") -> rx.Component:
    """A line icon of the sprite."""
    thick = " thick" if name in ("dots",) else ""
    return rx.el.svg(
        rx.el.svg.use(href=f"/glyphs.svg#i-{name}"), class_name=f"i {cls}{thick}", custom_attrs={"aria-hidden": "true"}
    )


def glyph(name: Text, family: Text = "", cls: Text = "") -> rx.Component:
    """A phase glyph of the sprite."""
    return rx.el.svg(
        rx.el.svg.use(href=f"/glyphs.svg#g-{name}"),
        class_name=f"g {family} {cls}",
        custom_attrs={"aria-hidden": "true"},
    )


def turning(is_turning: bool | rx.Var[bool], cls: str = "") -> Text:
    """The class of a glyph that turns while something moves."""
    return rx.cond(is_turning, f"turn {cls}", cls)


def phase(row: Any) -> rx.Component:
    """Glyph and word of an environment's phase."""
    return rx.el.span(glyph(row.phase, "", turning(row.turn)), row.word, class_name=f"phase {row.family}")


def tile(name: Text, cls: Text = "") -> rx.Component:
    """An application's drawing in a square."""
    return rx.el.span(
        rx.el.svg(rx.el.svg.use(href=f"/glyphs.svg#a-{name}")),
        class_name=f"tile {cls}",
        custom_attrs={"aria-hidden": "true"},
    )


def icon_tile(name: Text, cls: Text = "lg") -> rx.Component:
    """A line icon in a square, for empty places."""
    return rx.el.span(icon(name, "s20"), class_name=f"tile {cls}", custom_attrs={"aria-hidden": "true"})


def mark(cls: str = "mark") -> rx.Component:
    """The sign of the platform."""
    return rx.el.svg(rx.el.svg.use(href="/glyphs.svg#mark"), class_name=cls, custom_attrs={"aria-hidden": "true"})


def meter(percent: Any, label: Text, words: Text = "", cls: str = "", tone: Text = "") -> rx.Component:
    """A bar with its meaning in words."""
    return rx.el.div(
        rx.el.i(class_name=tone, custom_attrs=styled(width=f"{percent}%")),
        class_name=f"meter {cls}",
        custom_attrs={
            "role": "meter",
            "aria-label": label,
            "aria-valuemin": "0",
            "aria-valuemax": "100",
            "aria-valuenow": percent,
            "aria-valuetext": words,
        },
    )


def button(*inside: Child, cls: str = "", **props: Any) -> rx.Component:
    """A button that does something on this page."""
    return rx.el.button(*inside, type=props.pop("type", "button"), class_name=f"btn {cls}", **props)


def link_button(*inside: Child, href: Any, cls: str = "", **props: Any) -> rx.Component:
    """A link that looks like a button."""
    return rx.el.a(*inside, href=href, class_name=f"btn {cls}", **props)


def open_button(href: Any, cls: str = "sm soft", small: bool = True) -> rx.Component:
    """*Open*: the environment's own address, in a tab of its own."""
    return rx.el.a(
        icon("out", "s14" if small else ""),
        "Open",
        href=href,
        target="_blank",
        rel="noopener",
        class_name=f"btn {cls}",
        custom_attrs={"data-do": "o"},
    )


def page_head(title: Child, sub: Child, *acts: rx.Component) -> rx.Component:
    """Title, one sentence, and the primary act."""
    return rx.el.div(
        rx.el.div(rx.el.h1(title), rx.el.p(sub, class_name="sub")),
        rx.el.div(*acts, class_name="acts") if acts else rx.fragment(),
        class_name="head",
    )


def card(title: Child, *inside: rx.Component, id_: str, head: list[Child] | None = None, cls: str = "") -> rx.Component:
    """A card with a head; ``head`` stands right of the title."""
    return rx.el.section(
        rx.el.header(rx.el.h2(title, id=id_), *(head or [])),
        *inside,
        class_name=f"card {cls}",
        aria_labelledby=id_,
    )


def note(glyph_: rx.Component, *inside: Child, tone: str = "", cls: str = "", **props: Any) -> rx.Component:
    """Something that is so, and stays so: inline, in a tone."""
    return rx.el.div(glyph_, rx.el.div(*inside, class_name="grow"), class_name=f"note {tone} {cls}", **props)


def empty(drawing: rx.Component, what: Text, why: Child, *act: rx.Component) -> rx.Component:
    """An empty place: what belongs here, why it is empty, one act."""
    return rx.el.div(drawing, rx.el.h2(what), rx.el.p(why, class_name="sm two"), *act, class_name="empty")


def field(
    name: str,
    label: Text,
    control: rx.Component,
    errors: Any,
    hint: Child | None = None,
) -> rx.Component:
    """Label above, hint or error below. ``errors`` maps field names to sentences."""
    wrong = errors[name]
    below = rx.el.span(hint, class_name="hint", id=f"{name}-hint") if hint is not None else rx.fragment()
    return rx.el.div(
        rx.el.label(label, html_for=f"f-{name}"),
        control,
        rx.cond(
            wrong,
            rx.el.span(icon("warn", "s14"), wrong, class_name="err", id=f"{name}-error"),
            below,
        ),
        class_name="field grow",
    )


def text_input(name: str, errors: Any, first: bool = False, check: bool = True, **props: Any) -> rx.Component:
    """A one-line field of a form."""
    attrs: dict[str, Any] = {"aria-invalid": rx.cond(errors[name], "true", "false"), "spellCheck": "false"}
    attrs["aria-describedby"] = rx.cond(errors[name], f"{name}-error", f"{name}-hint")
    if first:
        attrs["data-first"] = ""
    if check:
        attrs["data-check"] = ""
    attrs |= props.pop("attrs", {})
    return rx.el.input(
        id=f"f-{name}",
        name=name,
        auto_complete="off",
        class_name=rx.cond(errors[name], "inp wrong", "inp"),
        custom_attrs=attrs,
        **props,
    )


def text_area(name: str, errors: Any, rows: int = 4, **props: Any) -> rx.Component:
    """A field of several lines."""
    attrs: dict[str, Any] = {
        "aria-invalid": rx.cond(errors[name], "true", "false"),
        "aria-describedby": rx.cond(errors[name], f"{name}-error", f"{name}-hint"),
        "spellCheck": "false",
        "data-check": "",
    }
    return rx.el.textarea(
        id=f"f-{name}",
        name=name,
        rows=rows,
        class_name=rx.cond(errors[name], "inp mono wrong", "inp mono"),
        custom_attrs=attrs,
        **props,
    )


def skeleton_rows(rows: int = 3) -> rx.Component:
    """Rows of the real height while the first data is on its way."""
    row = rx.el.li(
        rx.el.span(class_name="skel tile-s"),
        rx.el.span(rx.el.span(class_name="skel w60"), rx.el.span(class_name="skel w40"), class_name="stack"),
        rx.el.span(class_name="skel btn-s"),
        class_name="env ghost-row",
    )
    return rx.el.ul(*[row] * rows, aria_busy="true", aria_label="Loading")


def skeleton_lines(lines: int = 4) -> rx.Component:
    """Lines of text on their way."""
    return rx.el.div(
        *[rx.el.span(class_name="skel w60" if n % 2 else "skel line-s") for n in range(lines)],
        class_name="in stack gap14",
        role="group",
        aria_busy="true",
        aria_label="Loading",
    )


def facts(*pairs: tuple[str, Child] | rx.Component) -> rx.Component:
    """A list of names and values; a component stands for pairs that depend on something."""
    inside: list[Child] = []
    for pair in pairs:
        inside += [rx.el.dt(pair[0]), rx.el.dd(pair[1])] if isinstance(pair, tuple) else [pair]
    return rx.el.dl(*inside, class_name="facts")


def fact_if(shown: Any, name: Text, value: Child) -> rx.Component:
    """A fact that is only there when there is something to say."""
    return rx.cond(shown, rx.fragment(rx.el.dt(name), rx.el.dd(value)))
