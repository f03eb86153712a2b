"""``/environments``: all of a person's environments, 25 a page from the database."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import reflex as rx

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.views import EnvironmentPage
from cmbcluster.web.access import signed_in
from cmbcluster.web.addresses import PAGE_ROWS, Chip, Pager, address, asked, pager
from cmbcluster.web.arguments import whole
from cmbcluster.web.components.environments import middle, row_acts, row_menu
from cmbcluster.web.components.kit import (
    empty,
    icon,
    icon_tile,
    link_button,
    page_head,
    phase,
    skeleton_rows,
    tile,
)
from cmbcluster.web.components.layout import frame
from cmbcluster.web.components.lists import chips, foot, head_cell
from cmbcluster.web.js.parts import Seek, When
from cmbcluster.web.live import Page, follow
from cmbcluster.web.rows import EnvRow, env_row
from cmbcluster.web.words import plural
from cmbcluster.wiring import parts

PATH = "/environments"
PHASES = (("", "All"), ("running", "Running"), ("launching", "Launching"), ("stopped", "Stopped"), ("failed", "Failed"))
SORTS = ("name", "phase", "asked_at")
USUAL_SORT = "-asked_at"


@dataclass(frozen=True)
class SortHead:
    """A head of the table: where its link goes, and how it sorts now."""

    href: str = ""
    how: str = ""


class EnvironmentsState(rx.State):
    """What the list shows."""

    ready: bool = False
    sentence: str = "Everything you launched, and what is left of it."
    rows: list[EnvRow] = []
    phases: list[Chip] = []
    by_name: SortHead = SortHead()
    by_phase: SortHead = SortHead()
    by_asked: SortHead = SortHead()
    pager: Pager = Pager()
    filtered: bool = False

    @rx.event(background=True)
    @signed_in
    async def watch(self) -> Any:
        """Keep the list true while it is looked at."""
        return await follow(self, ListPage(asked_for(self.router.url.query_parameters)))


@dataclass(frozen=True)
class Asked:
    """What the address asks for."""

    search: str
    phase: str
    sort: str
    offset: int

    def at(self, **other: object) -> str:
        """The address with something changed; another filter begins at the first page."""
        values: dict[str, object] = {"q": self.search, "phase": self.phase, "sort": self.sort}
        values |= other
        if values.get("sort") == USUAL_SORT:
            values["sort"] = ""
        return address(PATH, **values)

    def head(self, key: str) -> SortHead:
        """The head that sorts by ``key``: the other way round when it does so now."""
        how = {key: "ascending", f"-{key}": "descending"}.get(self.sort, "")
        following = f"-{key}" if self.sort == key or (not how and key == "asked_at") else key
        return SortHead(self.at(sort=following), how)


def asked_for(parameters: Any) -> Asked:
    """Reads the address; what makes no sense counts as absent."""
    sort = asked(parameters, "sort")
    phase_ = asked(parameters, "phase")
    return Asked(
        search=asked(parameters, "q"),
        phase=phase_ if phase_ in dict(PHASES) else "",
        sort=sort if sort.removeprefix("-") in SORTS else USUAL_SORT,
        offset=whole(asked(parameters, "from")),
    )


class ListPage(Page[EnvironmentsState, EnvironmentPage]):
    """The list as its address asks for it."""

    def __init__(self, wanted: Asked) -> None:
        self.wanted = wanted

    async def gather(self, actor: Actor) -> EnvironmentPage:
        w = self.wanted
        return await parts().environments.page(
            actor, search=w.search, phase=w.phase, sort=w.sort, offset=w.offset, limit=PAGE_ROWS
        )

    async def show(self, state: EnvironmentsState, facts: EnvironmentPage) -> None:
        w, base = self.wanted, self.base
        state.rows = [env_row(view, base.now) for view in facts.rows]
        state.phases = [Chip(text, w.at(phase=value), value == w.phase) for value, text in PHASES]
        state.by_name, state.by_phase, state.by_asked = w.head("name"), w.head("phase"), w.head("asked_at")
        sort = "" if w.sort == USUAL_SORT else w.sort
        state.pager = pager(
            PATH, w.offset, len(facts.rows), facts.total, "environment", q=w.search, phase=w.phase, sort=sort
        )
        state.filtered = bool(w.search or w.phase or w.offset)
        kept, limit = base.limits.kept, base.limits.limits.kept
        state.sentence = f"You keep {kept} of {plural(limit, 'environment')}."
        state.ready = True


def _row(row: Any) -> rx.Component:
    return rx.el.tr(
        rx.el.td(
            rx.el.div(
                tile(row.icon, "sm"),
                rx.el.div(
                    rx.el.div(rx.el.a(row.name, href=row.href, class_name="name main-link cut"), class_name="row"),
                    rx.el.div(row.application, " · ", row.size, class_name="xs three cut"),
                    class_name="grow",
                ),
                class_name="row gap12",
            ),
            class_name="nm",
        ),
        rx.el.td(phase(row)),
        rx.el.td(middle(row), class_name="mid-cell more"),
        rx.el.td(When.create(at=row.asked_at, form="soon", capital=True), class_name="num two nw hide-m"),
        rx.el.td(rx.el.div(row_acts(row), row_menu(row), class_name="row-acts"), class_name="r more"),
        class_name="opens",
        key=row.id,
        custom_attrs={"data-row": ""},
    )


def _table() -> rx.Component:
    s: Any = EnvironmentsState
    head = rx.el.tr(
        head_cell("Name", s.by_name, "nm"),
        head_cell("Phase", s.by_phase),
        head_cell("Time"),
        head_cell("Asked for", s.by_asked, "hide-m"),
        rx.el.th(rx.el.span("Acts", class_name="hush"), scope="col", class_name="r"),
    )
    return rx.el.table(rx.el.thead(head), rx.el.tbody(rx.foreach(s.rows, _row)), class_name="tbl two-lines env-table")


def environments_page() -> rx.Component:
    """The list in its frame."""
    s: Any = EnvironmentsState
    none = empty(
        icon_tile("box"),
        "No environments yet",
        "Pick an application and launch it. What you launch is listed here until you delete it.",
        link_button("Open the catalogue", href="/catalogue", cls="sm"),
    )
    no_hits = empty(
        icon_tile("search"),
        "No environment matches",
        "Try another word, or another phase.",
        link_button("Clear the search", href=PATH, cls="sm"),
    )
    filled = rx.cond(s.rows.length() > 0, _table(), rx.cond(s.filtered, no_hits, none))
    launch = link_button(icon("plus"), "Launch", href="/catalogue", cls="go", custom_attrs={"data-do": "c"})
    return frame(
        page_head("Environments", s.sentence, launch),
        rx.el.div(chips(s.phases, "Phase"), Seek.create(label="Search environments"), class_name="tools"),
        rx.el.section(
            rx.cond(s.ready, filled, skeleton_rows(5)), foot(s.pager), class_name="card", aria_label="Environments"
        ),
        here="Environments",
        crumbs=[("Environments", PATH)],
    )
