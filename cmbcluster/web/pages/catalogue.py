"""``/catalogue``: what can be launched."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import reflex as rx

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.views import ApplicationView
from cmbcluster.web.access import signed_in
from cmbcluster.web.addresses import Chip, address, asked
from cmbcluster.web.components.kit import button, empty, icon, icon_tile, link_button, page_head, tile
from cmbcluster.web.components.launch import launch_dialog
from cmbcluster.web.components.layout import frame
from cmbcluster.web.components.lists import chips
from cmbcluster.web.js.parts import Seek
from cmbcluster.web.launch import Launch, begin_launch
from cmbcluster.web.live import Page, follow
from cmbcluster.web.words import about_words, icon_of, plural
from cmbcluster.wiring import parts

PATH = "/catalogue"


@dataclass(frozen=True)
class AppCard:
    """One application."""

    id: str = ""
    name: str = ""
    icon: str = ""
    line: str = ""
    summary: str = ""
    needs: str = ""
    own: bool = False
    unavailable: str = ""


class CatalogueState(rx.State):
    """What the catalogue shows."""

    ready: bool = False
    sentence: str = "Each launch is yours alone."
    cards: list[AppCard] = []
    categories: list[Chip] = []
    searched: str = ""

    @rx.event(background=True)
    @signed_in
    async def watch(self) -> Any:
        """Keep the catalogue true while it is looked at."""
        asked_for = self.router.url.query_parameters
        page = CataloguePage(
            asked(asked_for, "q"),
            asked(asked_for, "category"),
            asked(asked_for, "launch", 60),
            asked(asked_for, "from", 40),
        )
        if not page.launch:
            async with self:
                # Left open on a page that is gone, it would come back by itself and say what is no longer so.
                launch = await self.get_state(Launch)
                launch.is_open, launch.errors = False, {}
        return await follow(self, page)


@dataclass(frozen=True)
class Found:
    """What the services answered."""

    applications: tuple[ApplicationView, ...]
    categories: tuple[str, ...]


class CataloguePage(Page[CatalogueState, Found]):
    """The catalogue as its address asks for it."""

    def __init__(self, search: str, category: str, launch: str, from_id: str = "") -> None:
        self.search, self.category, self.launch, self.from_id = search, category, launch, from_id

    async def gather(self, actor: Actor) -> Found:
        catalogue = parts().catalogue
        found = await catalogue.applications(actor, search=self.search, category=self.category)
        return Found(found, await catalogue.categories(actor))

    async def show(self, state: CatalogueState, facts: Found) -> None:
        state.cards = [app_card(view) for view in facts.applications]
        state.categories = [
            Chip(name or "All", address(PATH, q=self.search, category=name), name == self.category)
            for name in ("", *facts.categories)
        ]
        state.searched = self.search
        state.sentence = f"{plural(len(facts.applications), 'application')}. Each launch is yours alone."
        state.ready = True
        if self.launch:
            wanted, self.launch = self.launch, ""
            await begin_launch(await state.get_state(Launch), wanted, self.from_id)


def app_card(view: ApplicationView) -> AppCard:
    """One application as a card."""
    takes = f"about {about_words(view.usual_start_seconds)} to start" if view.usual_start_seconds else ""
    return AppCard(
        id=view.id,
        name=view.name,
        icon=icon_of(view.icon),
        line=" · ".join(part for part in (view.category, takes) if part),
        summary=view.summary,
        needs=", ".join(view.needs_keys),
        own=view.program is None,
        unavailable=view.unavailable,
    )


S: Any = CatalogueState  # Reflex turns their attributes into Vars
LAUNCH: Any = Launch


def _card(card: Any) -> rx.Component:
    needs = rx.cond(
        card.own,
        rx.el.span("Asks for packages and a command", class_name="three"),
        rx.cond(
            card.needs,
            rx.el.span(icon("key", "s14"), "Asks for keys inside", class_name="row gap6 two", title=card.needs),
            rx.el.span(icon("check", "s14"), "Needs no keys", class_name="row gap6 ok-t"),
        ),
    )
    launch = button(
        rx.cond(card.own, "Set up", "Launch"),
        cls="sm push",
        on_click=LAUNCH.begin(card.id),
        custom_attrs={"data-do": "s", "aria-label": rx.cond(card.own, f"Set up {card.name}", f"Launch {card.name}")},
    )
    return rx.el.li(
        rx.el.div(
            tile(card.icon, "lg"),
            rx.el.div(rx.el.h2(card.name), rx.el.div(card.line, class_name="xs three"), class_name="grow"),
            class_name="row gap12",
        ),
        rx.el.p(card.summary, class_name="say"),
        rx.cond(
            card.unavailable,
            rx.el.footer(
                rx.el.span(icon("lock", "s14"), card.unavailable, class_name="row gap6 top sm two"),
            ),
            rx.el.footer(rx.el.span(needs, class_name="sm"), launch),
        ),
        class_name="card app-card",
        key=card.id,
    )


def _skeleton() -> rx.Component:
    one = rx.el.li(
        rx.el.div(
            rx.el.span(class_name="skel tile-s"),
            rx.el.span(rx.el.span(class_name="skel w60"), rx.el.span(class_name="skel w40"), class_name="stack grow"),
            class_name="row gap12",
        ),
        rx.el.span(class_name="skel line-s"),
        rx.el.span(class_name="skel w60"),
        rx.el.footer(rx.el.span(class_name="skel w40"), rx.el.span(class_name="skel btn-s w40")),
        class_name="card app-card",
    )
    return rx.el.ul(*[one] * 6, class_name="grid3", aria_busy="true", aria_label="Loading")


def catalogue_page() -> rx.Component:
    """The catalogue in its frame."""
    nothing = empty(
        icon_tile("search"),
        "No application is called that",
        f"Nothing matches “{S.searched}”. Try a shorter word.",
        link_button("Clear the search", href=PATH, cls="sm"),
    )
    cards = rx.cond(
        S.cards.length() > 0,
        rx.el.ul(rx.foreach(S.cards, _card), class_name="grid3"),
        rx.el.div(nothing, class_name="card"),
    )
    return frame(
        page_head("Catalogue", S.sentence),
        rx.el.div(chips(S.categories, "Category"), Seek.create(label="Search applications"), class_name="tools"),
        rx.cond(S.ready, cards, _skeleton()),
        here="Catalogue",
        crumbs=[("Catalogue", PATH)],
        extra=launch_dialog(),
    )
