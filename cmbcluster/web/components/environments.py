"""An environment in a list: its row, its menu, its progress, the dialog before it goes."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx

from cmbcluster.web.acts import Acts
from cmbcluster.web.components.kit import (
    button,
    css_vars,
    field,
    glyph,
    icon,
    link_button,
    meter,
    note,
    open_button,
    phase,
    text_input,
    tile,
)
from cmbcluster.web.js.parts import (
    Countdown,
    DialogClose,
    DialogTitle,
    Elapsed,
    Form,
    MenuContent,
    MenuItem,
    MenuLine,
    MenuRoot,
    MenuTrigger,
    Sheet,
    When,
)

ACTS: Any = Acts  # Reflex turns its attributes into Vars


def menu_item(name: str, drawing: str, cls: str = "", **props: Any) -> rx.Component:
    """One act in a menu."""
    return MenuItem.create(icon(drawing), name, class_name=f"mi {cls}", **props)


def menu_link(name: str, drawing: str, href: Any, **props: Any) -> rx.Component:
    """A link in a menu."""
    return MenuItem.create(rx.el.a(icon(drawing), name, href=href, class_name="mi", **props), as_child=True)


def row_menu(row: Any, cls: str = "sm sq flat") -> rx.Component:
    """Everything that can be done to an environment now."""
    return MenuRoot.create(
        MenuTrigger.create(
            button(icon("dots"), cls=cls, custom_attrs={"aria-label": f"More for {row.name}"}), as_child=True
        ),
        MenuContent.create(
            rx.match(
                row.kind,
                ("running", menu_link("Open", "out", row.open_href, target="_blank", rel="noopener")),
                ("rest", menu_item("Start", "play", on_select=ACTS.start(row.id, ""))),
                ("failed", menu_item("Try again", "retry", on_select=ACTS.start(row.id, ""))),
                rx.fragment(),
            ),
            rx.cond(row.can_extend, menu_item("Extend", "clock", on_select=ACTS.extend(row.id))),
            menu_link("Details", "info", row.href),
            menu_link("Logs", "doc", f"{row.href}?tab=logs"),
            menu_link("Rename", "pencil", f"{row.href}?tab=settings"),
            MenuLine.create(class_name="menu-line"),
            rx.match(
                row.kind,
                ("running", menu_item("Stop", "stop", on_select=ACTS.stop(row.id))),
                ("launching", menu_item("Cancel launch", "stop", on_select=ACTS.stop(row.id))),
                ("unknown", menu_item("Stop", "stop", on_select=ACTS.stop(row.id))),
                rx.fragment(),
            ),
            menu_item("Delete…", "trash", cls="bad", on_select=ACTS.ask_delete(row.id)),
            class_name="pop menu",
            align="end",
            side_offset=4,
        ),
        modal=False,
    )


def progress(row: Any) -> rx.Component:
    """How far a launch is."""

    def step(s: Any) -> rx.Component:
        return rx.el.i(class_name=s.state, custom_attrs=css_vars(p=f"{s.percent}%"))

    return rx.fragment(
        rx.el.div(
            rx.el.span(
                rx.cond(row.stage, row.stage, "Waiting"), " · ", Elapsed.create(since=row.since), class_name="nowrap"
            ),
            rx.el.span(row.usual, class_name="push three xs nowrap"),
            class_name="row sm",
        ),
        rx.el.div(
            rx.foreach(row.steps, step),
            class_name="steps mt6",
            custom_attrs={"role": "img", "aria-label": f"Launch: {row.stage}"} | css_vars(n=row.step_count),
        ),
    )


def time_left(row: Any) -> rx.Component:
    """The countdown of a running environment."""
    return rx.fragment(
        rx.el.div(
            Countdown.create(deadline=row.deadline, suffix=" left", icon=True, class_name="left"),
            When.create(at=row.deadline, form="soon", before="stops ", class_name="push three num xs nowrap"),
            class_name="row sm",
        ),
        rx.el.div(meter(row.used_percent, "Time used", row.used_words, "thin"), class_name="mt6"),
    )


def rest_lines(row: Any) -> rx.Component:
    """Two lines for an environment that does not run."""
    return rx.fragment(
        rx.el.div(row.line, When.create(at=row.line_at, form="soon", before=", "), class_name="sm two cut"),
        rx.el.div(
            When.create(at=row.note_at, form="ago", before=rx.cond(row.kind == "unknown", "last seen ", "")),
            row.note,
            class_name="xs three mt2",
        ),
    )


def middle(row: Any) -> rx.Component:
    """What there is to say about an environment in its phase."""
    return rx.match(row.kind, ("running", time_left(row)), ("launching", progress(row)), rest_lines(row))


def row_acts(row: Any) -> rx.Component:
    """The acts that stand in the row itself."""
    extend = button("Extend", cls="sm", on_click=ACTS.extend(row.id), custom_attrs={"data-do": "e"})
    start = button(
        icon("play", "s14"), "Start", cls="sm", on_click=ACTS.start(row.id, ""), custom_attrs={"data-do": "s"}
    )
    cancel = button("Cancel", cls="sm", on_click=ACTS.stop(row.id), custom_attrs={"data-do": "s"})
    return rx.match(
        row.kind,
        ("running", rx.fragment(open_button(row.open_href), rx.cond(row.can_extend, extend))),
        ("launching", rx.fragment(link_button("Watch", href=row.href, cls="sm"), cancel)),
        ("failed", link_button("See why", href=row.href, cls="sm")),
        ("rest", start),
        rx.fragment(),
    )


def environment_row(row: Any) -> rx.Component:
    """An environment on Home."""
    return rx.el.li(
        tile(row.icon),
        rx.el.div(
            rx.el.div(
                rx.el.span(rx.el.a(row.name, href=row.href), class_name="name cut"), phase(row), class_name="row"
            ),
            rx.el.div(row.application, " · ", row.size, class_name="sm three cut"),
            class_name="what",
        ),
        rx.el.div(middle(row), class_name="mid"),
        rx.el.div(row_acts(row), row_menu(row), class_name="acts"),
        class_name="env",
        key=row.id,
        custom_attrs={"data-row": ""},
    )


def _workspace_choice() -> rx.Component:
    """Whether the workspace goes too."""
    workspace = rx.cond(ACTS.deleting_workspace, f"Its workspace ({ACTS.deleting_workspace})", "Its workspace")
    stays = rx.fragment(
        f"{workspace} stays. It cannot be attached to another environment yet; an operator can find it under ",
        rx.el.code(ACTS.deleting_place, class_name="mono"),
        ".",
    )

    def choice(value: str, what: str, says: Any, first: bool) -> rx.Component:
        return rx.el.label(
            rx.el.input(
                type="radio",
                name="workspace",
                value=value,
                default_checked=first,
                custom_attrs={"data-first": ""} if first else {},
            ),
            rx.el.div(rx.el.b(what), rx.el.span(says)),
            class_name="pick",
        )

    return rx.el.fieldset(
        rx.el.legend("Workspace", class_name="lab"),
        choice("keep", "Keep the workspace", stays, True),
        choice("remove", "Remove the workspace too", f"{workspace} goes with it, for good.", False),
    )


def _typed_name() -> rx.Component:
    """The name, typed when the workspace goes."""
    errors = ACTS.delete_errors
    typed = text_input("typed_name", errors, check=False, attrs={"data-match": ACTS.deleting_name})
    return rx.el.div(
        field("typed_name", f"Type {ACTS.deleting_name} to confirm", typed, errors),
        class_name="typed",
    )


def delete_dialog() -> rx.Component:
    """What goes, what stays; the name is typed when the workspace goes."""
    wrong = ACTS.delete_errors["form"]
    return Sheet.create(
        rx.el.header(DialogTitle.create(rx.el.h2(f"Delete {ACTS.deleting_name}?"), as_child=True)),
        Form.create(
            rx.el.div(
                rx.cond(wrong, note(icon("warn"), wrong, tone="bad", role="alert")),
                rx.el.p("The environment, its address and its log go and cannot be brought back.", class_name="sm two"),
                _workspace_choice(),
                _typed_name(),
                class_name="body",
            ),
            rx.el.footer(
                DialogClose.create(button("Keep it", cls="push"), as_child=True),
                button("Delete environment", cls="doom", type="submit", custom_attrs={"data-waits": ""}),
            ),
            class_name="del",
            errors=ACTS.delete_errors,
            on_send=ACTS.delete,
        ),
        open=ACTS.deleting_id != "",
        on_open_change=ACTS.close_delete,
        role="alertdialog",
    )


def failed_glyph() -> rx.Component:
    """The octagon of a failure, in reading size."""
    return glyph("failed", "bad", "s20")
