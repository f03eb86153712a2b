"""The Reflex application put together: stylesheets, guard, what lies above pages, the pages."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

import logging
from typing import Any

import reflex as rx
from reflex.event import EventSpec
from reflex.state import StateUpdate
from reflex_base.registry import RegistrationContext
from reflex_base.utils.imports import ImportVar
from reflex_base.vars import VarData
from reflex_base.vars.base import Var

from cmbcluster.web.components.detail_page import environment_page
from cmbcluster.web.components.layout import above_pages
from cmbcluster.web.guard import ASKED_OVER, Guard
from cmbcluster.web.live import know_tabs
from cmbcluster.web.pages import activity, catalogue, environments, home, nowhere, settings
from cmbcluster.web.pages.environment import DetailState
from cmbcluster.web.shape import is_event
from cmbcluster.web.trouble import Trouble, say_away

logger = logging.getLogger(__name__)

INTER = "@fontsource-variable/inter/files/inter-latin-opsz-normal.woff2?url"
# Before the first paint: what the last visit was, and whether rows are roomy.
FIRST = (
    "try{var c=document.documentElement.classList,s=localStorage;"
    'if(s.getItem("cmb.in"))c.add("in");if(s.getItem("cmb.roomy")==="on")c.add("roomy")}catch(e){}'
)


def _heads() -> list[rx.Component]:
    font: Any = Var("interLatin", _var_data=VarData(imports={INTER: [ImportVar(tag="interLatin", is_default=True)]}))
    preload = {"as": "font", "type": "font/woff2", "crossOrigin": "anonymous"}
    return [
        rx.el.meta(name="color-scheme", content="light dark"),
        rx.el.link(rel="preload", href=font, custom_attrs=preload),
        rx.el.link(rel="icon", href="/favicon.ico"),
        rx.el.script(custom_attrs={"dangerouslySetInnerHTML": Var.create({"__html": FIRST})}),
    ]


def backend_exception(exception: Exception) -> EventSpec:
    """An error nobody foresaw: logged with its trace, and said without it."""
    logger.error("An event handler failed", exc_info=exception)
    return Trouble.say  # type: ignore[return-value]


def refuse_nonsense(app: rx.App) -> None:
    """Let nothing reach Reflex that is no event of ours: it would write a trace of each into the log."""
    namespace = app.event_namespace
    if namespace is None:
        return
    take = namespace.on_event

    # A client may send any number of things along.
    async def on_event(sid: str, data: Any = None, *_more: Any) -> None:
        if is_event(data) and data["name"] in RegistrationContext.get().event_handlers:
            await take(sid, data)
        else:
            logger.warning("What came over a socket is no event of ours")

    namespace.on_event = on_event  # type: ignore[method-assign]


def answer_only_who_asked(app: rx.App) -> None:
    """Give what an event led to to the socket it came over, never to another that has the tab's token by now.

    Somebody who knows the token could connect with it while the event is still worked on. A tab
    that comes back over a new socket loads its page anew by itself.
    """
    namespace = app.event_namespace
    if namespace is None:
        return
    emit = namespace.emit_update

    async def emit_update(update: StateUpdate, token: str) -> None:
        asked_over = ASKED_OVER.get()
        if asked_over and namespace.token_to_sid.get(token) != asked_over:
            logger.info("The tab that asked is gone")
            return
        await emit(update, token)

    namespace.emit_update = emit_update  # type: ignore[method-assign]


def build_app() -> rx.App:
    """The application with every page."""
    app = rx.App(
        stylesheets=["/cmb.css", "/pages.css"],
        html_lang="en",
        toaster=None,
        app_wraps={},
        extra_app_wraps={(55, "Cmb"): above_pages},
        head_components=_heads(),
        backend_exception_handler=backend_exception,
    )
    app.add_middleware(Guard(say_away), index=0)
    refuse_nonsense(app)
    answer_only_who_asked(app)
    know_tabs(lambda token: None if app.event_namespace is None else app.event_namespace.token_to_sid.get(token))
    _add_pages(app)
    return app


def _add_pages(app: rx.App) -> None:
    app.add_page(home.index, route="/", title="CMBCluster", on_load=home.HomeState.enter)
    app.add_page(
        catalogue.catalogue_page,
        route="/catalogue",
        title="Catalogue · CMBCluster",
        on_load=catalogue.CatalogueState.watch,
    )
    app.add_page(
        environments.environments_page,
        route="/environments",
        title="Environments · CMBCluster",
        on_load=environments.EnvironmentsState.watch,
    )
    app.add_page(
        environment_page, route="/environments/[environment]", title=DetailState.title, on_load=DetailState.watch
    )
    app.add_page(
        activity.activity_page,
        route="/activity",
        title="Activity · CMBCluster",
        on_load=activity.ActivityState.watch,
    )
    app.add_page(
        settings.settings_page,
        route="/settings",
        title="Settings · CMBCluster",
        on_load=settings.SettingsState.watch,
    )
    # Reflex shows the page of this name wherever no other route fits.
    app.add_page(nowhere.nowhere_page, route="404", title="Not found · CMBCluster")
