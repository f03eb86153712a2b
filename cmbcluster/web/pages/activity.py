"""``/activity``: what the person did and what was done to what is theirs."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import reflex as rx

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.views import ActivityPage
from cmbcluster.web.access import signed_in
from cmbcluster.web.addresses import PAGE_ROWS, Pager, asked, pager
from cmbcluster.web.arguments import whole
from cmbcluster.web.components.activity import feed_table
from cmbcluster.web.components.kit import empty, icon, icon_tile, link_button, page_head, skeleton_lines
from cmbcluster.web.components.layout import frame
from cmbcluster.web.components.lists import foot
from cmbcluster.web.happened import FeedRow, feed_row, kind_words
from cmbcluster.web.js.parts import Choose, Seek
from cmbcluster.web.live import Page, follow
from cmbcluster.wiring import parts

PATH = "/activity"


class ActivityState(rx.State):
    """What the log shows."""

    ready: bool = False
    rows: list[FeedRow] = []
    kinds: list[dict[str, str]] = []
    pager: Pager = Pager()
    filtered: bool = False

    @rx.event(background=True)
    @signed_in
    async def watch(self) -> Any:
        """Keep the log true while it is looked at."""
        asked_for = self.router.url.query_parameters
        page = LogPage(asked(asked_for, "q"), asked(asked_for, "kind", 40), whole(asked(asked_for, "from")))
        return await follow(self, page)


@dataclass(frozen=True)
class Found:
    """What the services answered."""

    page: ActivityPage
    kinds: tuple[str, ...]


class LogPage(Page[ActivityState, Found]):
    """The log as its address asks for it."""

    def __init__(self, search: str, kind: str, offset: int) -> None:
        self.search, self.kind, self.offset = search, kind, offset

    async def gather(self, actor: Actor) -> Found:
        activity = parts().activity
        page = await activity.page(actor, kind=self.kind, search=self.search, offset=self.offset, limit=PAGE_ROWS)
        return Found(page, await activity.kinds(actor))

    async def show(self, state: ActivityState, facts: Found) -> None:
        state.rows = [feed_row(row) for row in facts.page.rows]
        state.kinds = [{"value": kind, "text": kind_words(kind)} for kind in facts.kinds]
        state.pager = pager(
            PATH, self.offset, len(facts.page.rows), facts.page.total, "entry", "entries", q=self.search, kind=self.kind
        )
        state.filtered = bool(self.search or self.kind or self.offset)
        state.ready = True


def activity_page() -> rx.Component:
    """The log in its frame."""
    s: Any = ActivityState
    export = link_button(
        icon("download"), "Export as CSV", href="/api/activity.csv", reload_document=True, custom_attrs={"download": ""}
    )
    no_hits = empty(
        icon_tile("search"),
        "Nothing matches",
        "Try another word, or everything that happened.",
        link_button("Clear the search", href=PATH, cls="sm"),
    )
    none = empty(
        icon_tile("pulse"),
        "Nothing has happened yet",
        "What you do, and what happens to your environments, is listed here.",
    )
    filled = rx.cond(s.rows.length() > 0, feed_table(s.rows), rx.cond(s.filtered, no_hits, none))
    return frame(
        page_head("Activity", "Everything done by you or to what is yours, admins included.", export),
        rx.el.div(
            Choose.create(label="Kind", name="kind", options=s.kinds, all="Everything"),
            Seek.create(label="Search activity"),
            class_name="tools",
        ),
        rx.el.section(
            rx.cond(s.ready, filled, skeleton_lines(10)), foot(s.pager), class_name="card", aria_label="Activity"
        ),
        here="Activity",
        crumbs=[("Activity", PATH)],
    )
