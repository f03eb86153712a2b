"""Deny by default for every Reflex event, and the binding of a browser tab to one person.

Runs before every event, also chained and background ones. The cookie is that of the
websocket's handshake; whether its session still lives is asked on every event. Must never
authorise by path: the path an event claims comes from the browser.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import reflex as rx
import structlog
from reflex.event import Event
from reflex.state import BaseState, OnLoadInternalState, StateUpdate
from reflex_base.registry import RegistrationContext
from reflex_base.vars.base import FIELD_MARKER  # type: ignore[attr-defined]

from cmbcluster.domain.actors import ANONYMOUS, Actor
from cmbcluster.domain.gate import SESSION_COOKIE, cookie_value
from cmbcluster.errors import DependencyError, NotSignedIn, TooManyRequests
from cmbcluster.services.rates import Limited
from cmbcluster.web.access import PUBLIC, SIGNED_IN, mark_of
from cmbcluster.web.shape import fits
from cmbcluster.wiring import parts

logger = structlog.get_logger(__name__)

HYDRATE = frozenset({"hydrate", "hydrate_and_load"})
# Reflex's own handlers that a page cannot do without. "setvar" is not among them: it
# could call any set_ method and so pass by the marks. Nor is "update_vars_internal":
# nothing of ours is kept in a browser's storage.
INTERNAL = HYDRATE | {"on_load_internal", "set_is_hydrated", "handle_frontend_exception"}
AGAIN_SECONDS = 2.0  # until a page that could not be loaded is tried again
REFLEX_MODULES = ("reflex.", "reflex_base.", "reflex_components_")
# The socket over which came what the present task works on; empty outside of events.
ASKED_OVER: ContextVar[str] = ContextVar("asked_over", default="")


class Owner(rx.State):
    """Whose things this tab's state holds; never sent to the browser."""

    _user_id: str = ""


def session_token(state: BaseState) -> str:
    """The session cookie of the websocket's handshake, or the empty string."""
    # The border leaves a socket this one cookie or none.
    return cookie_value(state.router.headers.cookie or "", SESSION_COOKIE)


async def find_actor(state: BaseState, *, touch: bool = True) -> Actor | None:
    """Who is behind this tab now, with a fresh operation id; None when signed out.

    ``touch`` false: a look that the person did not cause.
    """
    token = session_token(state)
    if not token:
        return None
    # It was admitted with the handshake; its own minutes may be over while the socket stays.
    actor = await parts().sessions.find(token, touch=touch, opened=True)
    return None if actor is None else replace(actor, operation_id=secrets.token_hex(8))


async def actor_of(state: BaseState) -> Actor:
    """Who is behind this tab now; raises NotSignedIn. Every handler begins with it."""
    actor = await find_actor(state)
    if actor is None:
        raise NotSignedIn()
    return actor


def sign_in_path(path: str, *, ended: bool = False) -> str:
    """Where a signed-out visitor of ``path`` is sent, so that signing in brings them back."""
    told = {"ended": "1"} if ended else {}
    if path.startswith("/") and not path.startswith("//") and path != "/" and len(path) <= 500:
        told["next"] = path
    return f"/?{urlencode(told, quote_via=quote, safe='')}" if told else "/"


def asked_for(state: BaseState) -> str:
    """The page a tab is on, with what its address asks for."""
    url = state.router.url
    path = str(url.path).rstrip("/") or "/"
    return f"{path}?{url.query}" if url.query else path


# Says in a tab that nobody can be asked who is there: for a page that loads (true) or for an act.
Away = Callable[[BaseState, bool], Awaitable[dict[str, Any]]]


class Guard(rx.Middleware):
    """Registered first; an update returned here ends the event before its handler runs.

    ``away`` says what a tab shows while the database does not answer. It must give nothing
    that the tab's state holds, since whose tab it is cannot be known then.
    """

    def __init__(self, away: Away) -> None:
        self._away = away

    async def preprocess(self, app: rx.App, state: BaseState, event: Event) -> StateUpdate | None:
        """Let the event through (None), or answer in its place."""
        root = state._get_root_state()
        ASKED_OVER.set(str(root.router.session.session_id))
        short = event.name.rsplit(".", 1)[-1]
        registered = RegistrationContext.get().event_handlers.get(event.name)
        if registered is None:
            return _refused("there is no such handler", event, None)
        handler = registered.handler.fn
        own = not handler.__module__.startswith(REFLEX_MODULES)
        if not own and short not in INTERNAL:
            return _refused("not for pages", event, None)
        if not fits(handler, event.payload, own=own):
            return _refused("not what the handler takes", event, None)
        if short == "handle_frontend_exception" and await _reports_too_often(root):
            return StateUpdate()
        mark = mark_of(handler)
        try:
            actor = await find_actor(root)
        except DependencyError:
            loads = not own or mark == PUBLIC or registered.handler.is_background
            return await self._unknown(app, root, event, loads)
        await _bind(root, actor)
        if actor is None and short in HYDRATE:
            return _empty_page(app, root)
        if not own or mark == PUBLIC:
            return None
        if actor is None:
            return StateUpdate(events=Event.from_event_type(rx.redirect(sign_in_path(asked_for(root)))))
        if mark == SIGNED_IN or mark == f"role:{actor.role}":
            return None
        return _refused("not for this role", event, actor)

    async def _unknown(self, app: rx.App, root: BaseState, event: Event, loads: bool) -> StateUpdate:
        """Who is there cannot be known, so nothing is done and nobody is signed out. A load is tried again."""
        logger.warning("who is there could not be asked", handler=event.name[-200:])
        update = StateUpdate(delta=await self._away(root, loads))
        token, namespace = root.router.session.client_token, app.event_namespace
        if loads and namespace is not None and token in namespace.token_to_sid:
            await namespace.emit_update(update, token)
            await asyncio.sleep(AGAIN_SECONDS)
            return StateUpdate(events=[event])
        return update

    async def postprocess(
        self,
        app: rx.App,  # noqa: ARG002 - the signature is Reflex's
        state: BaseState,  # noqa: ARG002
        event: Event,  # noqa: ARG002
        update: StateUpdate,
    ) -> StateUpdate:
        """Nothing to add."""
        return update


def _refused(why: str, event: Event, actor: Actor | None) -> StateUpdate:
    """The answer to what no page of ours sends. The log never gets its values."""
    logger.warning(
        "event refused", kind="denied", why=why, handler=event.name[-200:], user_id=str(actor.user_id) if actor else ""
    )
    return StateUpdate()


async def _reports_too_often(root: BaseState) -> bool:
    """A page that failed says so in the log; a stranger must not be able to fill it that way."""
    try:
        await parts().rates.check(replace(ANONYMOUS, address=str(root.router.session.client_ip)), Limited.REPORT)
    except TooManyRequests:
        return True
    return False


def _empty_page(app: rx.App, root: BaseState) -> StateUpdate:
    """An anonymous hydrate: the page's own load events, never a snapshot of the state."""
    load = app.get_load_events(root.router.url.path)
    events = Event.from_event_type(OnLoadInternalState.on_load_internal) if load else []
    return StateUpdate(delta={rx.State.get_full_name(): {"is_hydrated" + FIELD_MARKER: True}}, events=events)


async def _bind(root: BaseState, actor: Actor | None) -> None:
    """Give a tab's state to one person; anybody else's arrival wipes what it held.

    Anybody else is another person, and also a visitor without a session who knows the
    tab's token.
    """
    owner = await root.get_state(Owner)
    user_id = "" if actor is None else str(actor.user_id)
    if owner._user_id and owner._user_id != user_id:
        root.reset()  # type: ignore[no-untyped-call]
        owner = await root.get_state(Owner)
    if owner._user_id != user_id:
        owner._user_id = user_id
