"""``/``: the front page for visitors, Home for people who are signed in."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import reflex as rx

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.lifecycle import AT_REST, LAUNCHING, Phase
from cmbcluster.domain.views import ActivityPage, EnvironmentView, SharedView
from cmbcluster.web.access import public, signed_in
from cmbcluster.web.acts import Acts
from cmbcluster.web.components.environments import environment_row, failed_glyph
from cmbcluster.web.components.kit import (
    button,
    card,
    empty,
    icon,
    icon_tile,
    link_button,
    meter,
    page_head,
    skeleton_lines,
    skeleton_rows,
    tile,
)
from cmbcluster.web.components.layout import frame
from cmbcluster.web.components.sharing import SharedRow, shared_card, shared_row
from cmbcluster.web.guard import find_actor
from cmbcluster.web.happened import FeedRow, feed_row
from cmbcluster.web.js.parts import Countdown, When
from cmbcluster.web.live import Page, follow
from cmbcluster.web.pages.front import FrontState, front_page, show_front
from cmbcluster.web.portrait import why
from cmbcluster.web.rows import EnvRow, env_row, environment_path
from cmbcluster.web.shell import Base, Shell
from cmbcluster.web.words import bytes_words, cpu, hours_short, plural, sentence, without_stop
from cmbcluster.wiring import parts

ROWS = 5
AGAIN = 4
SOON_SECONDS = 900


@dataclass(frozen=True)
class Need:
    """One thing that waits for the person."""

    id: str = ""
    what: str = ""
    why: str = ""
    href: str = ""
    act: str = ""  # retry, edit or extend
    edit: str = ""  # where its person changes what they wrote
    deadline: float = 0.0
    size: str = ""
    label: str = ""


@dataclass(frozen=True)
class Limit:
    """One limit and how much of it is used."""

    name: str = ""
    used: str = ""
    of: str = ""
    percent: int = 0


@dataclass(frozen=True)
class Again:
    """An application used before, with the size used last."""

    name: str = ""
    icon: str = ""
    size: str = ""
    href: str = ""


class HomeState(rx.State):
    """What Home shows."""

    ready: bool = False
    sentence: str = "Your environments, and how long they run."
    needs: list[Need] = []
    rows: list[EnvRow] = []
    total: int = 0
    again: list[Again] = []
    limits: list[Limit] = []
    each: str = ""
    feed: list[FeedRow] = []
    shared: list[SharedRow] = []

    @rx.event
    @public
    async def enter(self) -> Any:
        """Decide which of the two pages this is."""
        shell = await self.get_state(Shell)
        if await find_actor(self) is not None:
            return HomeState.watch
        shell.who = "out"
        asked = self.router.url.query_parameters
        show_front(await self.get_state(FrontState), asked.get("next", ""), ended=bool(asked.get("ended")))
        return None

    @rx.event(background=True)
    @signed_in
    async def watch(self) -> Any:
        """Keep Home true while it is looked at."""
        return await follow(self, HomePage())


@dataclass(frozen=True)
class Facts:
    """What the services answered."""

    activity: ActivityPage
    shared: tuple[SharedView, ...]


class HomePage(Page[HomeState, Facts]):
    """Home needs the last activity, and what others share, beside what the frame asks for."""

    async def gather(self, actor: Actor) -> Facts:
        here = parts()
        return Facts(await here.activity.page(actor, limit=6), await here.shares.with_me(actor))

    async def show(self, state: HomeState, facts: Facts) -> None:
        base = self.base
        views = base.environments.rows
        order = sorted(views, key=_weight)
        state.rows = [env_row(view, base.now) for view in order[:ROWS]]
        state.total = base.environments.total
        state.needs = [need for need in (_need(view, base) for view in views) if need is not None]
        state.again = _again(views)
        state.limits = [
            _limit("Running at once", base.limits.running, base.limits.limits.running_at_once),
            _limit("Environments kept", base.limits.kept, base.limits.limits.kept),
        ]
        most = base.limits.limits
        state.each = " · ".join(
            (f"{cpu(most.cpu_millis)} CPU", bytes_words(most.memory_bytes), hours_short(most.longest_uptime_seconds))
        )
        state.feed = [feed_row(row) for row in facts.activity.rows]
        state.shared = [shared_row(view) for view in facts.shared]
        state.sentence = _sentence(views, len(state.needs))
        state.ready = True


def _weight(view: EnvironmentView) -> tuple[int, float]:
    """Running first, then what is under way, then the rest, each the newest first."""
    if view.phase is Phase.RUNNING:
        group = 0
    elif view.phase in LAUNCHING:
        group = 1
    else:
        group = 3 if view.phase in AT_REST else 2
    return group, -view.asked_at.timestamp()


def _need(view: EnvironmentView, base: Base) -> Need | None:
    if view.phase is Phase.FAILED and view.reason is not None:
        told = without_stop(view.reason.what)
        what = f"{view.name} {told[3:]}" if told.startswith("It ") else f"{view.name}: {told}"
        ways = why(view, base.limits)
        return Need(
            str(view.id),
            what,
            sentence(view.reason.then),
            environment_path(view),
            # More memory may be all that its own program lacks; else what was written has to change.
            "edit" if ways.edit and not ways.bigger else "retry",
            size=ways.bigger,
            label=ways.bigger_words or "Try again",
            edit=ways.edit,
        )
    if view.phase is Phase.RUNNING and view.deadline_at is not None:
        left = (view.deadline_at - base.now).total_seconds()
        if 0 < left <= SOON_SECONDS:
            act = "extend" if view.can_extend else ""
            advice = "Extend it, or save your work." if act else "Save your work. The workspace is kept."
            what = f"{view.name} stops soon"
            ends = view.deadline_at.timestamp()
            return Need(str(view.id), what, advice, environment_path(view), act, deadline=ends)
    return None


def _limit(name: str, used: int, of: int) -> Limit:
    return Limit(name, str(used), str(of), min(100, round(100 * used / of)) if of else 100)


def _again(views: tuple[EnvironmentView, ...]) -> list[Again]:
    """The applications used last, each once, with the size used last."""
    seen: dict[str, Again] = {}
    for view in sorted(views, key=lambda v: v.asked_at, reverse=True):
        if view.application_id not in seen and len(seen) < AGAIN:
            row = env_row(view, view.asked_at)
            seen[view.application_id] = Again(
                row.application, row.icon, row.size, f"/catalogue?launch={view.application_id}"
            )
    return list(seen.values())


def _sentence(views: tuple[EnvironmentView, ...], needs: int) -> str:
    running = sum(view.phase is Phase.RUNNING for view in views)
    starting = sum(view.phase in LAUNCHING for view in views)
    said = [f"{running} running"] if running else []
    said += [f"{starting} starting"] if starting else []
    if needs:
        said.append(f"{plural(needs, 'thing')} {'needs' if needs == 1 else 'need'} you")
    if said:
        return ", ".join(said) + "."
    return "Nothing is running." if views else "Launch an application to begin."


S: Any = HomeState  # Reflex turns their attributes into Vars
ACTS: Any = Acts
SHELL: Any = Shell


def _need_row(need: Any) -> rx.Component:
    sign = rx.cond(need.deadline > 0, rx.el.span(icon("clock", "s20"), class_name="warn-i"), failed_glyph())
    act = rx.match(
        need.act,
        ("retry", button(need.label, cls="sm", on_click=ACTS.start(need.id, need.size))),
        ("edit", link_button("Edit and launch again", href=need.edit, cls="sm")),
        ("extend", button("Extend", cls="sm", on_click=ACTS.extend(need.id))),
        rx.fragment(),
    )
    left = rx.cond(need.deadline > 0, rx.el.span(" · ", Countdown.create(deadline=need.deadline, suffix=" left")))
    return rx.el.div(
        sign,
        rx.el.div(
            rx.el.div(rx.el.a(need.what, href=need.href), left, class_name="b"),
            rx.el.div(need.why, class_name="sm two"),
        ),
        rx.el.div(act, class_name="acts row gap6"),
        class_name="need",
        key=need.id,
    )


def _limit_row(limit: Any) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            rx.el.span(limit.name),
            rx.el.span(rx.el.span(limit.used, class_name="b ink"), f" of {limit.of}", class_name="push num three"),
            class_name="row sm",
        ),
        rx.el.div(meter(limit.percent, limit.name, f"{limit.used} of {limit.of}", "thin"), class_name="mt6"),
    )


def _feed_row(row: Any) -> rx.Component:
    name = rx.cond(
        row.href, rx.el.a(row.environment, href=row.href, class_name="b"), rx.el.b(row.environment, class_name="b")
    )
    return rx.el.li(
        When.create(at=row.at, form="time"),
        rx.el.span(row.before, rx.cond(row.environment, name), row.after),
        key=row.id,
    )


def _environments() -> rx.Component:
    nothing = empty(
        icon_tile("box"),
        "No environments yet",
        "Pick an application and launch it. It runs at an address of its own, for as long as you say.",
        link_button("Open the catalogue", href="/catalogue", cls="sm"),
    )
    rows = rx.cond(S.rows.length() > 0, rx.el.ul(rx.foreach(S.rows, environment_row)), nothing)
    head = [
        rx.cond(S.total > 0, rx.el.span(S.total, class_name="sm three num")),
        rx.el.a("See all", href="/environments", class_name="link sm push"),
    ]
    return card("Environments", rx.cond(S.ready, rows, skeleton_rows()), id_="envs", head=head)


def _again_card() -> rx.Component:
    def one(a: Any) -> rx.Component:
        return rx.el.li(
            rx.el.a(
                tile(a.icon, "sm"),
                rx.el.span(
                    rx.el.span(a.name, class_name="b sm cut"),
                    rx.el.span(a.size, class_name="xs three cut"),
                    class_name="stack gap0",
                ),
                href=a.href,
            )
        )

    return rx.cond(
        S.again.length() > 0,
        card(
            "Launch again",
            rx.el.ul(rx.foreach(S.again, one), class_name="again"),
            id_="again",
            head=[
                rx.el.span("with the size you used last", class_name="sm three"),
                rx.el.a("Catalogue", href="/catalogue", class_name="link sm push"),
            ],
        ),
    )


def _aside() -> rx.Component:
    limits = rx.el.ul(
        rx.foreach(S.limits, _limit_row),
        rx.el.li(
            rx.el.span("Each environment"),
            rx.el.span(S.each, class_name="push three num end-r"),
            class_name="row sm",
        ),
        class_name="in stack gap14",
    )
    feed = rx.cond(
        S.feed.length() > 0,
        rx.el.ul(rx.foreach(S.feed, _feed_row), class_name="feed in"),
        rx.el.p("Nothing has happened yet.", class_name="in sm two"),
    )
    return rx.el.aside(
        card(
            "Your limits",
            rx.cond(S.ready, limits, skeleton_lines(5)),
            id_="limits",
            head=[rx.el.span(SHELL.me.tier, class_name="tag push")],
        ),
        card(
            "Lately",
            rx.cond(S.ready, feed, skeleton_lines(6)),
            id_="recent",
            head=[rx.el.a("Activity", href="/activity", class_name="link sm push")],
        ),
        aria_label="Limits and activity",
        class_name="col",
    )


def home_page() -> rx.Component:
    """Home in its frame."""
    needs = rx.cond(
        S.needs.length() > 0,
        rx.el.section(
            rx.el.h2("Needs you", class_name="hush", id="needs"),
            rx.foreach(S.needs, _need_row),
            class_name="card needs",
            aria_labelledby="needs",
        ),
    )
    launch = link_button(icon("plus"), "Launch", href="/catalogue", cls="go", custom_attrs={"data-do": "c"})
    return frame(
        page_head("Home", S.sentence, launch),
        rx.el.div(
            rx.el.div(needs, _environments(), shared_card(S.shared), _again_card(), class_name="col"),
            _aside(),
            class_name="cols",
        ),
        here="Home",
        crumbs=[("Home", "/")],
    )


def index() -> rx.Component:
    """Visitors see the front page, people Home; until it is known, what the last visit was."""
    front = rx.el.div(front_page(), class_name=rx.cond(SHELL.who == "", "pre-front", ""))
    home = rx.el.div(home_page(), class_name=rx.cond(SHELL.who == "", "pre-home", ""))
    return rx.fragment(rx.cond(SHELL.who != "in", front), rx.cond(SHELL.who != "out", home))
