"""The frame of every page: sidebar, topbar, bottom bar, and what floats above all of them."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx
from reflex_components_core.core.banner import has_connection_errors  # type: ignore[import-untyped]

from cmbcluster.web.acts import Acts
from cmbcluster.web.components.environments import delete_dialog
from cmbcluster.web.components.kit import glyph, icon, mark, note, turning
from cmbcluster.web.components.posting import Posting
from cmbcluster.web.js.parts import (
    Bell,
    Clock,
    Countdown,
    Elapsed,
    Ending,
    Hotkeys,
    Lost,
    Opener,
    OwnSheet,
    Palette,
    RouteFocus,
    Signed,
    Standing,
    Toasts,
    When,
)
from cmbcluster.web.shell import Shell

SHELL: Any = Shell  # Reflex turns its attributes into Vars
ACTS: Any = Acts  # Reflex turns its attributes into Vars

PAGES = (
    ("/", "Home", "home"),
    ("/catalogue", "Catalogue", "grid"),
    ("/environments", "Environments", "box"),
    ("/activity", "Activity", "pulse"),
)
GO = {"h": "/", "c": "/catalogue", "e": "/environments", "a": "/activity", "s": "/settings"}
KEYS = (
    ("Ctrl K", "Search or run"),
    ("/", "Search this page"),
    ("?", "These shortcuts"),
    ("c", "Launch"),
    ("g h", "Home"),
    ("g c", "Catalogue"),
    ("g e", "Environments"),
    ("g a", "Activity"),
    ("g s", "Settings"),
    ("j k", "Next, previous row"),
    ("o", "Open the chosen environment"),
    ("e", "Extend it"),
    ("s", "Start or stop it"),
    ("Esc", "Close, clear, cancel"),
)


def above_pages(stateful: bool) -> rx.Component:  # noqa: ARG001 - the signature is Reflex's
    """What stays while pages come and go."""
    return rx.fragment(
        Clock.create(now=SHELL.now),
        Signed.create(who=SHELL.who),
        Standing.create(who=SHELL.who),
        Toasts.create(items=SHELL.toasts, on_act=ACTS.run),
        Hotkeys.create(go=GO),
        RouteFocus.create(),
        rx.el.div(SHELL.said, class_name="hush", role="status", aria_live="polite"),
        rx.el.div(SHELL.alarm, class_name="hush", role="alert", aria_live="assertive"),
    )


def _current(here: str, name: str) -> dict[str, str]:
    return {"aria-current": "page"} if here == name else {}


def _nav(here: str) -> list[rx.Component]:
    kept = rx.cond(SHELL.me.kept > 0, rx.el.span(SHELL.me.kept, class_name="n"))
    return [
        rx.el.a(
            icon(drawing),
            name,
            kept if name == "Environments" else rx.fragment(),
            href=href,
            class_name="nav",
            title=name,
            custom_attrs=_current(here, name),
        )
        for href, name, drawing in PAGES
    ]


def _up_row(row: Any) -> rx.Component:
    return rx.el.a(
        glyph(row.glyph, row.family, turning(row.turn)),
        rx.el.span(row.name, class_name="cut"),
        rx.cond(
            row.deadline > 0,
            Countdown.create(deadline=row.deadline, short=True, class_name="t"),
            rx.cond(
                row.since > 0, Elapsed.create(since=row.since, class_name="t"), rx.el.span(row.word, class_name="t")
            ),
        ),
        href=row.href,
        class_name="live",
        title=row.name,
        key=row.id,
    )


def _up_now(label: str = "Up now") -> rx.Component:
    return rx.cond(
        SHELL.up.length() > 0,
        rx.el.div(
            rx.el.div(
                "Up now",
                rx.el.span(f"{SHELL.me.running} of {SHELL.me.running_limit}", class_name="push num"),
                class_name="cap",
            ),
            rx.el.nav(rx.foreach(SHELL.up, _up_row), aria_label=label),
            class_name="group",
        ),
    )


def _sidebar(here: str) -> rx.Component:
    return rx.el.aside(
        rx.el.a(mark(), rx.el.span("CMBCluster"), href="/", class_name="brand", aria_label="CMBCluster, Home"),
        rx.el.nav(*_nav(here), aria_label="Main"),
        _up_now(),
        rx.el.a(
            rx.el.span(SHELL.me.initials, class_name="face", custom_attrs={"aria-hidden": "true"}),
            rx.el.span(
                rx.el.span(SHELL.me.name, class_name="b sm cut"),
                rx.el.span(SHELL.me.tier, " · Settings", class_name="xs three"),
                class_name="stack gap0",
            ),
            rx.el.span(icon("sliders"), class_name="push three"),
            href="/settings",
            class_name="me",
            title=f"{SHELL.me.name}, settings",
            custom_attrs=_current(here, "Settings"),
        ),
        class_name="side",
        aria_label="Sidebar",
    )


def _notice(row: Any) -> rx.Component:
    return rx.el.li(
        rx.cond(row.bad, glyph("failed", "bad"), rx.el.span(icon("clock"), class_name="warn-i")),
        rx.el.div(
            rx.cond(row.href, rx.el.a(row.text, href=row.href), rx.el.span(row.text)),
            rx.el.div(When.create(at=row.at, form="ago"), class_name="xs three"),
        ),
        key=row.id,
    )


def _bell() -> rx.Component:
    return Bell.create(
        rx.el.header(rx.el.h2("Notifications")),
        rx.cond(
            SHELL.notices.length() > 0,
            rx.el.ul(rx.foreach(SHELL.notices, _notice)),
            rx.el.p("Nothing to tell you. Warnings before time runs out come here.", class_name="in sm two empty"),
        ),
        unread=SHELL.unread,
        on_seen=SHELL.seen,
    )


def _topbar(crumbs: list[tuple[Any, str]]) -> rx.Component:
    trail: list[rx.Component] = []
    for n, (name, href) in enumerate(crumbs):
        if n:
            trail.append(icon("right", "s14"))
        last = n == len(crumbs) - 1
        trail.append(
            rx.el.span(name, class_name="cut", custom_attrs={"aria-current": "page"})
            if last
            else rx.el.a(name, href=href)
        )
    return rx.el.header(
        rx.el.a(mark("mark2"), href="/", class_name="only-s", aria_label="CMBCluster, Home"),
        rx.el.nav(*trail, class_name="crumbs", aria_label="Breadcrumb"),
        Lost.create(gone=has_connection_errors),
        Opener.create(
            icon("search"),
            rx.el.span("Search or run…"),
            rx.el.kbd("Ctrl K"),
            event="cmb:palette",
            class_name="find",
            custom_attrs={"aria-label": "Search or run… Ctrl K"},
        ),
        _bell(),
        Opener.create(
            icon("help"),
            event="cmb:keys",
            class_name="btn flat sq hide-s",
            custom_attrs={"aria-label": "Help and keyboard shortcuts"},
        ),
        class_name="bar",
    )


def _tabbar(here: str) -> rx.Component:
    links = [
        rx.el.a(icon(drawing), name, href=href, custom_attrs=_current(here, name)) for href, name, drawing in PAGES
    ]
    more = Opener.create(icon("menu"), "More", event="cmb:more", custom_attrs=_current(here, "Settings"))
    return rx.el.nav(*links, more, class_name="tabbar", aria_label="Main, phone")


def _more_sheet() -> rx.Component:
    def item(name: Any, drawing: Any, href: Any) -> rx.Component:
        return rx.el.a(icon(drawing), name, href=href, class_name="nav")

    return OwnSheet.create(
        _up_now("Up now, phone"),
        rx.el.nav(
            item("Settings", "sliders", "/settings"),
            item("Appearance", "sun", "/settings?tab=appearance"),
            item("Sessions", "screen", "/settings?tab=sessions"),
            aria_label="More",
            class_name="sheet-nav",
        ),
        on="cmb:more",
        label="More",
        close_on_click=True,
    )


def _keys_sheet() -> rx.Component:
    def row(keys: Any, does: Any) -> rx.Component:
        return rx.el.li(rx.el.span(does), rx.el.span(*[rx.el.kbd(k) for k in keys.split()], class_name="row gap4"))

    return OwnSheet.create(
        rx.el.ul(*[row(keys, does) for keys, does in KEYS], class_name="keys-list"),
        rx.el.p(
            "Single letters rest while you type and can be turned off in ",
            rx.el.a("Settings", href="/settings?tab=appearance", class_name="link"),
            ".",
            class_name="sm three",
        ),
        on="cmb:keys",
        label="Keyboard shortcuts",
        close_on_click=True,
    )


def frame(
    *content: rx.Component, here: str, crumbs: list[tuple[Any, str]], extra: rx.Component | None = None
) -> rx.Component:
    """A page inside its frame. ``extra`` are the page's own dialogs."""
    return rx.fragment(
        rx.el.a("Skip to content", href="#content", class_name="skip", reload_document=True),
        rx.el.div(
            _sidebar(here),
            rx.el.div(
                _topbar(crumbs),
                Ending.create(items=SHELL.ending, on_extend=ACTS.extend),
                rx.el.main(
                    rx.cond(
                        SHELL.trouble,
                        note(icon("warn"), SHELL.trouble, tone="warn", cls="mb16", role="alert"),
                    ),
                    *content,
                    class_name="page",
                    id="content",
                    tab_index=-1,
                ),
                class_name="main",
            ),
            _tabbar(here),
            class_name="app",
        ),
        Palette.create(items=SHELL.palette, on_run=ACTS.run),
        _keys_sheet(),
        _more_sheet(),
        delete_dialog(),
        Posting.create(action="/auth/sign-out", method="post", id="sign-out", hidden=True),
        extra or rx.fragment(),
    )
