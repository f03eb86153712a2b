"""What an address shows at which there is nothing. Needs no session and asks for nothing."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

import reflex as rx

from cmbcluster.web.components.kit import icon_tile, link_button, mark


def nowhere_page() -> rx.Component:
    """Stands without the sidebar: a visitor may be signed out, and this page does not ask."""
    return rx.el.div(
        rx.el.header(
            rx.el.a(mark(), rx.el.span("CMBCluster"), href="/", class_name="brand", aria_label="CMBCluster, Home"),
            class_name="front-top",
        ),
        rx.el.main(
            rx.el.div(
                icon_tile("search"),
                rx.el.h1("There is nothing at this address"),
                rx.el.p("It may have been mistyped, or what was here is gone.", class_name="sm two"),
                link_button("Go to Home", href="/", cls="go"),
                class_name="empty nowhere",
            ),
            id="content",
            tab_index=-1,
        ),
        class_name="front",
    )
