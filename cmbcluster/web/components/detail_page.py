"""The page of one environment put together: head, tabs, and what each tab shows."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx

from cmbcluster.web.acts import Acts
from cmbcluster.web.components.activity import feed_table
from cmbcluster.web.components.detail import (
    facts_card,
    inside_card,
    launch_card,
    log_card,
    previous_log_card,
    protection_card,
    tail_card,
    time_card,
    unseen_note,
    usage_card,
    why_card,
)
from cmbcluster.web.components.environments import row_menu
from cmbcluster.web.components.kit import (
    button,
    empty,
    field,
    icon,
    icon_tile,
    link_button,
    note,
    open_button,
    phase,
    skeleton_lines,
    text_input,
    tile,
)
from cmbcluster.web.components.layout import frame
from cmbcluster.web.components.lists import foot
from cmbcluster.web.components.sharing import guests_card
from cmbcluster.web.js.parts import Copy, Form, When
from cmbcluster.web.pages.environment import DetailState
from cmbcluster.web.words import hours_words

ACTS: Any = Acts  # Reflex turns its attributes into Vars

S: Any = DetailState


def _acts() -> rx.Component:
    row = S.row

    def stop(text: Any) -> rx.Component:
        return button(text, on_click=ACTS.stop(row.id), custom_attrs={"data-do": "s"})

    off = rx.el.button(icon("out"), "Open", type="button", disabled=True, class_name="btn go")
    delete = button(icon("trash"), "Delete", on_click=ACTS.ask_delete(row.id))
    start = button(
        icon("play"), "Start again", cls="go", on_click=ACTS.start(row.id, ""), custom_attrs={"data-do": "s"}
    )
    return rx.el.div(
        rx.match(
            row.kind,
            ("running", rx.fragment(stop("Stop"), open_button(row.open_href, "go", small=False))),
            ("launching", rx.fragment(stop("Cancel launch"), off)),
            ("unknown", rx.fragment(stop("Stop"), open_button(row.open_href, "soft", small=False))),
            ("rest", rx.cond(S.tab == "overview", delete, start)),
            ("failed", delete),
            rx.fragment(),
        ),
        row_menu(row, "sq"),
        class_name="acts",
    )


def _head() -> rx.Component:
    row = S.row
    asked = rx.cond(
        row.kind == "launching",
        When.create(at=row.asked_at, form="ago", before=" · asked for "),
        When.create(at=row.asked_at, before=" · launched "),
    )
    return rx.el.div(
        rx.el.div(
            tile(row.icon, "lg"),
            rx.el.div(
                rx.el.div(rx.el.h1(row.name, class_name="cut"), phase(row), class_name="row wrap title-row"),
                rx.el.p(row.application, " · ", row.size, asked, class_name="sub sm"),
                class_name="grow",
            ),
            class_name="row gap12 top head-name",
        ),
        _acts(),
        class_name="head detail-head",
        custom_attrs={"data-one": ""},
    )


def _tabs() -> rx.Component:
    def one(t: Any) -> rx.Component:
        return rx.cond(
            t.on,
            rx.el.a(t.text, href=t.href, custom_attrs={"aria-current": "page"}),
            rx.el.a(t.text, href=t.href),
        )

    return rx.el.nav(rx.foreach(S.tabs, one), class_name="tabs", aria_label="Environment")


def _main() -> rx.Component:
    kind = S.row.kind
    later = rx.cond(S.fall.lanes.length() > 0, launch_card(S.fall))
    return rx.el.div(
        rx.match(
            kind,
            ("running", rx.fragment(time_card(S.row, S.about), usage_card(S), log_card(S), later)),
            ("launching", rx.fragment(later, log_card(S))),
            ("failed", rx.fragment(why_card(S), tail_card(S), later)),
            ("rest", rx.fragment(why_card(S), tail_card(S), later)),
            ("unknown", rx.fragment(unseen_note(S), log_card(S), later)),
            ("deleting", note(icon("trash"), "It is being removed. This page goes with it.")),
            log_card(S),
        ),
        class_name="col",
    )


def _aside() -> rx.Component:
    waits = note(
        icon("clock"),
        f"Your {S.about.stops_after} ",
        rx.cond(S.about.stops_after == hours_words(3600), "begins", "begin"),
        " when it runs, not now. ",
        "You may close this page. We tell you when it is ready.",
    )
    return rx.el.aside(
        facts_card(S),
        rx.cond(S.row.kind == "launching", waits, inside_card(S)),
        protection_card(S),
        aria_label="Facts",
        class_name="col",
    )


def _activity() -> rx.Component:
    nothing = empty(icon_tile("pulse"), "Nothing here yet", "What happens to this environment is listed here.")
    return rx.el.section(
        rx.cond(S.feed.length() > 0, feed_table(S.feed), nothing),
        foot(S.pager),
        class_name="card",
        aria_label="Activity",
    )


def _pinned_image() -> rx.Component:
    """The digest its image is pinned to."""
    about = S.about
    digest = rx.cond(
        about.digest,
        rx.el.div(
            rx.el.span("Pinned to ", class_name="two"),
            rx.el.span(about.digest_words, class_name="mono"),
            Copy.create(text=about.digest, label="Copy the digest"),
            rx.el.span(about.image_size, class_name="two"),
            class_name="row wrap sm gap6 mt4",
        ),
        rx.el.p("Its digest is looked up when it starts next.", class_name="sm two mt4"),
    )
    kept = "The same digest is used at every start. Updating takes what its tag stands for by then."
    return rx.el.div(
        rx.el.p(rx.el.span(about.image, class_name="mono wrap-any"), class_name="sm"),
        rx.cond(
            about.is_on_nodes,
            rx.el.p(
                "The machines have this image themselves, and no registry is asked for it: "
                "every start runs what its machine has under this tag.",
                class_name="sm two mt4",
            ),
            rx.fragment(digest, rx.el.p(kept, class_name="sm two mt6")),
        ),
        _update("Update image"),
    )


def _update(words: str) -> rx.Component:
    row, about = S.row, S.about
    return rx.el.div(
        button(icon("retry"), words, on_click=ACTS.update(row.id), disabled=~about.can_update),
        rx.cond(about.can_update, rx.fragment(), rx.el.span("Stop it first.", class_name="sm three")),
        class_name="row gap12 mt12",
    )


def _lock() -> rx.Component:
    """The lock its packages are pinned by, and the newest ones on request."""
    about = S.about
    return rx.el.div(
        rx.cond(
            about.digest,
            rx.el.div(
                rx.el.span("Pinned to ", about.packages, " by the lock ", class_name="two"),
                rx.el.span(about.digest_words, class_name="mono"),
                Copy.create(text=about.digest, label="Copy the digest"),
                class_name="row wrap sm gap6",
            ),
            rx.el.p("Its packages are resolved when it starts next.", class_name="sm two"),
        ),
        rx.el.p(
            "The same lock is used at every start. Updating takes the newest packages its requirements allow.",
            class_name="sm two mt6",
        ),
        _update("Update packages"),
    )


def _settings() -> rx.Component:
    row, about = S.row, S.about
    rename = Form.create(
        field(
            "name",
            "Name",
            text_input("name", S.errors, default_value=row.name, max_length=200, key=row.name),
            S.errors,
            "Its address stays as it is, since it may be in notebooks and bookmarks.",
        ),
        rx.el.div(button("Rename", type="submit"), class_name="mt12"),
        class_name="wide-in",
        errors=S.errors,
        on_send=S.rename,
        on_check=S.check,
        label="Rename",
    )
    made_of = rx.el.div(
        rx.cond(
            about.command,
            rx.el.p("Started with ", rx.el.code(about.command, class_name="mono"), class_name="sm two wrap-any"),
            rx.el.p("Started with the command that the image has.", class_name="sm two"),
        ),
        rx.el.p(
            rx.cond(about.python, f"Python {about.python}, {about.listens}.", f"On {about.listens}."),
            class_name="sm two mt4",
        ),
    )
    danger = rx.el.div(
        rx.el.p(
            "Ends it and removes its address and log. You choose whether its workspace stays.", class_name="sm two"
        ),
        rx.el.div(button(icon("trash"), "Delete…", cls="danger", on_click=ACTS.ask_delete(row.id)), class_name="mt12"),
    )

    def part(title: Any, body: Any) -> rx.Component:
        return rx.el.div(rx.el.h2(title), body, class_name="in split")

    return rx.el.section(
        part("Name", rename),
        rx.cond(about.image, part("Image", _pinned_image()), part("Packages", _lock())),
        part("Program", made_of),
        part("Delete", danger),
        class_name="card",
        aria_label="Settings",
    )


def _content() -> rx.Component:
    return rx.fragment(
        _head(),
        _tabs(),
        rx.match(
            S.tab,
            ("logs", rx.el.div(log_card(S, tall=True), previous_log_card(S), class_name="col")),
            ("activity", _activity()),
            ("settings", rx.el.div(guests_card(), _settings(), class_name="col")),
            rx.el.div(_main(), _aside(), class_name="cols"),
        ),
    )


def _missing() -> rx.Component:
    return rx.el.section(
        empty(
            icon_tile("box"),
            "There is no such environment, or it is not yours",
            "It may have been deleted. Yours are on the list.",
            link_button("See your environments", href="/environments", cls="sm"),
        ),
        class_name="card",
        aria_label="Not found",
    )


def _skeleton() -> rx.Component:
    head = rx.el.div(
        rx.el.span(class_name="skel tile-s"),
        rx.el.span(rx.el.span(class_name="skel h26"), rx.el.span(class_name="skel w40"), class_name="stack grow"),
        class_name="row gap12 head",
    )
    first = rx.el.section(skeleton_lines(8), class_name="card")
    second = rx.el.section(skeleton_lines(6), class_name="card")
    return rx.fragment(
        rx.el.h1("Environment", class_name="hush"),
        head,
        rx.el.div(
            rx.el.div(first, class_name="col"),
            rx.el.aside(second, class_name="col", aria_label="Facts"),
            class_name="cols",
        ),
    )


def environment_page() -> rx.Component:
    """The page in its frame.

    A tab's state outlives a reload and a change of page, so what it holds is shown only
    when it belongs to the address: else another environment's *Open* would stand here.
    """
    path: Any = S.router.url.path
    here: Any = S.ready & path.contains(S.shown_id)
    name: Any = rx.cond(here & S.row.name, S.row.name, "Environment")
    return frame(
        rx.cond(
            here,
            rx.cond(S.missing, rx.fragment(rx.el.h1("Environment", class_name="hush"), _missing()), _content()),
            _skeleton(),
        ),
        here="Environments",
        crumbs=[("Environments", "/environments"), (name, "")],
    )
