"""What lists share: chips, the foot with its total, heads that sort."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx

from cmbcluster.web.components.kit import icon


def chips(options: Any, label: str) -> rx.Component:
    """A filter whose choice is in the address."""

    def one(c: Any) -> rx.Component:
        return rx.cond(
            c.on,
            rx.el.a(c.text, href=c.href, class_name="chip", custom_attrs={"aria-current": "true"}),
            rx.el.a(c.text, href=c.href, class_name="chip"),
        )

    return rx.el.nav(rx.foreach(options, one), class_name="chips", aria_label=label)


def _turn_button(drawing: str, text: str, href: Any) -> rx.Component:
    return rx.cond(
        href,
        rx.el.a(icon(drawing, "s14"), text, href=href, class_name="btn sm"),
        rx.el.span(icon(drawing, "s14"), text, class_name="btn sm", custom_attrs={"aria-disabled": "true"}),
    )


def foot(pager: Any) -> rx.Component:
    """The total, and the pages before and after."""
    return rx.cond(
        pager.text,
        rx.el.div(
            rx.el.span(pager.text, class_name="num"),
            rx.cond(
                (pager.before != "") | (pager.after != ""),
                rx.el.nav(
                    _turn_button("left", "Newer", pager.before),
                    _turn_button("right", "Older", pager.after),
                    class_name="row gap6 push",
                    aria_label="Pages",
                ),
            ),
            class_name="foot",
        ),
    )


def head_cell(text: str, sort: Any = None, cls: str = "") -> rx.Component:
    """A head; ``sort`` has ``href`` and ``how`` (ascending, descending or empty)."""
    if sort is None:
        return rx.el.th(text, class_name=cls, scope="col")
    link = rx.el.a(text, rx.cond(sort.how, icon("sort", "s14")), href=sort.href)
    return rx.cond(
        sort.how,
        rx.el.th(link, class_name=cls, scope="col", custom_attrs={"aria-sort": sort.how}),
        rx.el.th(link, class_name=cls, scope="col"),
    )
