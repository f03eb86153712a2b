"""Wrappers of our own browser parts and of the Radix primitives they stand beside.

Each wrapper names the properties of one function of a ``.jsx`` file in this folder. Must
never decide anything: what a part needs to know comes in through its properties.
"""

# Reflex reads the type arguments of EventHandler at run time; for mypy it takes none.
# mypy: disable-error-code="type-arg, valid-type"

from __future__ import annotations

from typing import Any

import reflex as rx

DIALOG = "@radix-ui/react-dialog@1.3.1"
MENU = "@radix-ui/react-dropdown-menu@2.2.1"


def _js(name: str) -> str:
    """The import path of a file of this folder."""
    return "$/public" + str(rx.asset(name, shared=True)).split("?")[0]


_CLOCK = _js("clock.jsx")
_CONTROLS = _js("controls.jsx")
_SHEET = _js("sheet.jsx")
_ROUTE = _js("route.jsx")
_STANDING = _js("standing.jsx")
_TEXT_EVENT: Any = rx.event.passthrough_event_spec(str)
_OPEN_EVENT: Any = rx.event.passthrough_event_spec(bool)
_VALUES_EVENT: Any = rx.event.passthrough_event_spec(dict[str, str])
_FIELD_EVENT: Any = rx.event.passthrough_event_spec(str, str)  # type: ignore[call-arg]


class Clock(rx.Component):
    """Tells everything that ticks what the server's time is."""

    library = _CLOCK
    tag = "Clock"
    now: rx.Var[float]


class Countdown(rx.Component):
    """Time left until a deadline."""

    library = _CLOCK
    tag = "Countdown"
    deadline: rx.Var[float]
    short: rx.Var[bool]
    suffix: rx.Var[str]
    after: rx.Var[str]
    title: rx.Var[str]
    icon: rx.Var[bool]


class Elapsed(rx.Component):
    """Time since a moment."""

    library = _CLOCK
    tag = "Elapsed"
    since: rx.Var[float]


class When(rx.Component):
    """A moment in the reader's own zone."""

    library = _CLOCK
    tag = "When"
    at: rx.Var[float]
    form: rx.Var[str]
    before: rx.Var[str]
    after: rx.Var[str]
    capital: rx.Var[bool]


class Ending(rx.Component):
    """The banner of the last five minutes, and what is said aloud before it."""

    library = _CLOCK
    tag = "Ending"
    items: rx.Var[list[Any]]
    on_extend: rx.EventHandler[_TEXT_EVENT]


class Hotkeys(rx.Component):
    """Keys that work everywhere."""

    library = _js("hotkeys.jsx")
    tag = "Hotkeys"
    go: rx.Var[dict[str, str]]


class Sheet(rx.Component):
    """A dialog that State opens."""

    library = _SHEET
    tag = "Sheet"
    lib_dependencies: list[str] = [DIALOG]
    open: rx.Var[bool]
    veil: rx.Var[str]
    role: rx.Var[str]
    on_open_change: rx.EventHandler[_OPEN_EVENT]


class OwnSheet(rx.Component):
    """A dialog the browser opens by itself on a window event."""

    library = _SHEET
    tag = "OwnSheet"
    lib_dependencies: list[str] = [DIALOG]
    on: rx.Var[str]
    label: rx.Var[str]
    close_on_click: rx.Var[bool]


class Opener(rx.Component):
    """A button that sends a window event."""

    library = _SHEET
    tag = "Opener"
    lib_dependencies: list[str] = [DIALOG]
    event: rx.Var[str]


class DialogTitle(rx.Component):
    """The name of a dialog."""

    library = DIALOG
    tag = "Title"
    alias = "DialogTitle"
    as_child: rx.Var[bool]


class DialogClose(rx.Component):
    """Closes its dialog."""

    library = DIALOG
    tag = "Close"
    alias = "DialogClose"
    as_child: rx.Var[bool]


class MenuRoot(rx.Component):
    """A menu behind a button."""

    library = MENU
    tag = "Root"
    alias = "MenuRoot"
    modal: rx.Var[bool]


class MenuTrigger(rx.Component):
    """The button of a menu."""

    library = MENU
    tag = "Trigger"
    alias = "MenuTrigger"
    as_child: rx.Var[bool]


class MenuContent(rx.Component):
    """What a menu shows; stays where it is drawn, so that it lies inside main."""

    library = MENU
    tag = "Content"
    alias = "MenuContent"
    align: rx.Var[str]
    side_offset: rx.Var[int]


class MenuItem(rx.Component):
    """One act of a menu."""

    library = MENU
    tag = "Item"
    alias = "MenuItem"
    as_child: rx.Var[bool]
    disabled: rx.Var[bool]
    on_select: rx.EventHandler[rx.event.no_args_event_spec]


class MenuLine(rx.Component):
    """The line between two groups of a menu."""

    library = MENU
    tag = "Separator"
    alias = "MenuLine"


class Form(rx.Component):
    """A form that keeps what was typed and asks for checks when they are due."""

    library = _js("form.jsx")
    tag = "Form"
    errors: rx.Var[dict[str, str]]
    label: rx.Var[str]
    on_send: rx.EventHandler[_VALUES_EVENT]
    on_check: rx.EventHandler[_FIELD_EVENT]


class RouteFocus(rx.Component):
    """Moves the focus to main on a change of page."""

    library = _ROUTE
    tag = "RouteFocus"


class Lost(rx.Component):
    """Says that the connection is lost."""

    library = _ROUTE
    tag = "Lost"
    gone: rx.Var[bool]


class Toasts(rx.Component):
    """Short messages about what is done."""

    library = _js("toasts.jsx")
    tag = "Toasts"
    items: rx.Var[list[Any]]
    on_act: rx.EventHandler[_TEXT_EVENT]


class Palette(rx.Component):
    """Search and commands behind Ctrl+K."""

    library = _js("palette.jsx")
    tag = "Palette"
    lib_dependencies: list[str] = [DIALOG]
    items: rx.Var[list[Any]]
    on_run: rx.EventHandler[_TEXT_EVENT]


class LogView(rx.Component):
    """The log of an environment, followed."""

    library = _js("log.jsx")
    tag = "LogView"
    url: rx.Var[str]
    download: rx.Var[str]
    follow: rx.Var[bool]
    again: rx.Var[str]
    tall: rx.Var[bool]
    title: rx.Var[str]
    empty: rx.Var[str]


class Usage(rx.Component):
    """Charts of what an environment uses."""

    library = _js("usage.jsx")
    tag = "Usage"
    name: rx.Var[str]
    sample: rx.Var[dict[str, Any]]
    cpu_limit: rx.Var[float]
    memory_limit: rx.Var[float]
    texts: rx.Var[dict[str, str]]


class Bell(rx.Component):
    """Notifications behind a button."""

    library = _CONTROLS
    tag = "Bell"
    unread: rx.Var[int]
    on_seen: rx.EventHandler[rx.event.no_args_event_spec]


class Copy(rx.Component):
    """Copies a text."""

    library = _CONTROLS
    tag = "Copy"
    text: rx.Var[str]
    label: rx.Var[str]
    word: rx.Var[str]


class Seek(rx.Component):
    """The page's own search, kept in its address."""

    library = _CONTROLS
    tag = "Seek"
    label: rx.Var[str]
    name: rx.Var[str]


class Choose(rx.Component):
    """A choice kept in the page's address."""

    library = _CONTROLS
    tag = "Choose"
    label: rx.Var[str]
    name: rx.Var[str]
    options: rx.Var[list[Any]]
    all: rx.Var[str]


class Kept(rx.Component):
    """A switch whose state lives in the browser."""

    library = _CONTROLS
    tag = "Kept"
    name: rx.Var[str]
    label: rx.Var[str]
    usual: rx.Var[bool]
    mark: rx.Var[str]


class Theme(rx.Component):
    """System, light or dark."""

    library = _CONTROLS
    tag = "Theme"
    on_choose: rx.EventHandler[_TEXT_EVENT]


class TokenMaker(rx.Component):
    """Makes a personal token at our own address and shows it once; it never reaches the state."""

    library = _js("token.jsx")
    tag = "TokenMaker"
    scopes: rx.Var[list[Any]]


class RegistryForm(rx.Component):
    """Enters an account at a registry at our own address; its secret never reaches the state."""

    library = _js("registry.jsx")
    tag = "RegistryForm"
    hosts: rx.Var[list[str]]


class Signed(rx.Component):
    """Remembers in the browser whether the last visit was signed in."""

    library = _CONTROLS
    tag = "Signed"
    who: rx.Var[str]


class Standing(rx.Component):
    """Tells the server that somebody is there, warns before the session ends, keeps what was typed."""

    library = _STANDING
    tag = "Standing"
    who: rx.Var[str]
