"""``/environments/[environment]``: one environment, whatever its phase."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import reflex as rx

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import LAUNCHING, Phase
from cmbcluster.domain.tiers import GIB
from cmbcluster.domain.views import ActivityPage, EnvironmentView, GuestView
from cmbcluster.errors import DependencyError, InvalidInput, NotFound, UserError
from cmbcluster.web.access import signed_in
from cmbcluster.web.addresses import PAGE_ROWS, Chip, Pager, address, asked, pager
from cmbcluster.web.arguments import environment_id, fields, text, whole
from cmbcluster.web.components.sharing import SharingState, show_guests
from cmbcluster.web.guard import actor_of
from cmbcluster.web.happened import FeedRow, feed_row
from cmbcluster.web.launch import problem_of
from cmbcluster.web.live import Page, follow
from cmbcluster.web.portrait import About, Meter, Protection, Why, about, protection, usage_limits, why
from cmbcluster.web.rows import EnvRow, env_row
from cmbcluster.web.shell import tell, telling
from cmbcluster.web.timeline import Waterfall, waterfall
from cmbcluster.wiring import parts

TABS = (("overview", "Overview"), ("logs", "Logs"), ("activity", "Activity"), ("settings", "Settings"))
SAMPLE_SECONDS = 3.0
FIRST_SAMPLE_SECONDS = 0.5  # the first two follow at once: a rate needs both
GROW_SECONDS = 1.0


class DetailState(rx.State):
    """What the page of one environment shows."""

    ready: bool = False
    missing: bool = False
    shown_id: str = ""
    title: str = "Environment · CMBCluster"
    tab: str = "overview"
    tabs: list[Chip] = []
    row: EnvRow = EnvRow()
    about: About = About()
    fall: Waterfall = Waterfall()
    why: Why = Why()
    protection: Protection = Protection()
    log_url: str = ""
    log_key: str = ""
    sample: dict[str, Any] = {}
    words: dict[str, str] = {}
    cpu_limit: float = 1.0
    memory_limit: float = 1.0
    feed: list[FeedRow] = []
    pager: Pager = Pager()
    errors: dict[str, str] = {}

    @rx.event(background=True)
    @signed_in
    async def watch(self) -> Any:
        """Keep the page true while it is looked at."""
        parameters = self.router.url.query_parameters
        raw_id = text(str(self.router.url.path).rstrip("/").rsplit("/", 1)[-1], 40)
        tab = asked(parameters, "tab")
        tab = tab if tab in dict(TABS) else "overview"
        async with self:
            if self.shown_id != raw_id:
                self.ready, self.shown_id = False, raw_id
                self.row, self.sample, self.words = EnvRow(), {}, {}
            self.missing, self.tab, self.errors = False, tab, {}
            self.tabs = [
                Chip(name, address(f"/environments/{raw_id}", tab=_quiet(key)), key == tab) for key, name in TABS
            ]
        return await follow(self, DetailPage(raw_id, tab, whole(asked(parameters, "from"))))

    @rx.event
    @signed_in
    async def check(self, name: str, value: str) -> None:
        """Check the new name when its field is left."""
        if text(name, 20) == "name":
            self.errors = {"name": problem_of("name", text(value))}

    @rx.event
    @signed_in
    async def rename(self, form: dict[str, str]) -> None:
        """Give the environment another name. Its address stays."""
        given = fields(form).get("name", "")
        async with telling(self) as shell:
            try:
                view = await parts().environments.rename(await actor_of(self), environment_id(self.row.id), given)
            except UserError as wrong:
                self.errors = {wrong.field if isinstance(wrong, InvalidInput) else "name": str(wrong)}
                return
            self.errors = {}
            tell(shell, f"It is called {view.name} now.", "Its address stays as it was.")


def _quiet(tab: str) -> str:
    return "" if tab == "overview" else tab


@dataclass(frozen=True)
class Facts:
    """What the services answered; ``view`` None: there is no such environment."""

    view: EnvironmentView | None
    activity: ActivityPage | None
    guests: tuple[GuestView, ...] | None = None


class DetailPage(Page[DetailState, Facts]):
    """One environment. Between rings it grows the bar of a launch, or measures what runs."""

    def __init__(self, raw_id: str, tab: str, offset: int) -> None:
        self.raw_id, self.tab, self.offset = raw_id, tab, offset
        self.view: EnvironmentView | None = None
        self.meter = Meter()
        self.samples = 0

    async def gather(self, actor: Actor) -> Facts:
        try:
            self.view = await parts().environments.get(actor, environment_id(self.raw_id))
        except NotFound:
            self.view = None
            return Facts(None, None)
        activity = None
        if self.tab == "activity":
            activity = await parts().activity.page(
                actor, environment_id=self.view.id, offset=self.offset, limit=PAGE_ROWS
            )
        guests = None
        if self.tab == "settings":
            guests = await parts().shares.of_environment(actor, self.view.id)
        return Facts(self.view, activity, guests)

    async def show(self, state: DetailState, facts: Facts) -> None:
        view, base = facts.view, self.base
        state.ready, state.shown_id = True, self.raw_id
        state.missing = view is None or view.phase is Phase.GONE
        if view is None:
            state.title = "Not found · CMBCluster"
            return
        state.title = f"{view.name} · CMBCluster"
        state.row = env_row(view, base.now)
        state.about = about(view, base.limits, base.now)
        state.fall = waterfall(view, base.now)
        state.why = why(view, base.limits)
        state.protection = protection(view.protection)
        state.log_url = f"/api/environments/{view.id}/log"
        state.log_key = f"{view.asked_at.timestamp()}:{view.phase.value}"
        state.cpu_limit, state.memory_limit = view.cpu_millis / 1000, view.memory_bytes / GIB
        state.words = {**state.words, **usage_limits(view)}
        if facts.guests is not None:
            show_guests(await state.get_state(SharingState), str(view.id), facts.guests)
        if facts.activity is not None:
            rows = facts.activity.rows
            state.feed = [feed_row(row) for row in rows]
            here = f"/environments/{view.id}"
            state.pager = pager(here, self.offset, len(rows), facts.activity.total, "entry", "entries", tab="activity")

    def pace(self) -> float | None:
        if self.view is None or self.tab != "overview":
            return None
        if self.view.phase in LAUNCHING:
            return GROW_SECONDS
        if self.view.phase is not Phase.RUNNING:
            return None
        return FIRST_SAMPLE_SECONDS if self.samples < 2 else SAMPLE_SECONDS

    async def tick(self, state: DetailState, actor: Actor) -> None:
        if self.view is None:
            return
        if self.view.phase in LAUNCHING:
            fall = waterfall(self.view, datetime.now(UTC))
            async with state:
                state.fall = fall
            return
        try:
            usage = await parts().insights.usage(actor, self.view.id)
        except (UserError, DependencyError):
            usage = None
        self.samples += 1
        sample, words = self.meter.sample(usage)
        async with state:
            state.sample = sample
            state.words = {**words, **usage_limits(self.view)}
