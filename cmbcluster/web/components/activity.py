"""Lines of activity as a table."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from typing import Any

import reflex as rx

from cmbcluster.web.components.kit import icon
from cmbcluster.web.js.parts import When


def _result(row: Any) -> rx.Component:
    return rx.match(
        row.result,
        ("ok", rx.el.span(icon("check", "s14"), "Done", class_name="row gap6 sm two")),
        ("failed", rx.el.span(icon("x", "s14"), "Failed", class_name="tag bad")),
        rx.el.span(icon("lock", "s14"), "Refused", class_name="tag warn"),
    )


def _line(row: Any) -> rx.Component:
    name = rx.cond(
        row.href,
        rx.el.a(row.environment, href=row.href, class_name="b"),
        rx.el.b(row.environment, class_name="b"),
    )
    return rx.el.tr(
        rx.el.td(When.create(at=row.at, form="soon", capital=True), class_name="num two nw when"),
        rx.el.td(
            rx.el.div(row.before, rx.cond(row.environment, name), row.after),
            rx.cond(row.detail, rx.el.div(row.detail, class_name="xs three mt2")),
            class_name="nm",
        ),
        rx.el.td(row.address, class_name="two mono hide-m"),
        rx.el.td(_result(row), class_name="nw res"),
        key=row.id,
    )


def feed_table(rows: Any) -> rx.Component:
    """When, what, from where, and how it went."""
    head = rx.el.tr(
        rx.el.th("When", scope="col"),
        rx.el.th("What", scope="col", class_name="nm"),
        rx.el.th("From", scope="col", class_name="hide-m"),
        rx.el.th("Result", scope="col"),
    )
    return rx.el.table(rx.el.thead(head), rx.el.tbody(rx.foreach(rows, _line)), class_name="tbl two-lines feed-table")
