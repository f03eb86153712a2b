"""Pages that stay true without being loaded again: one task per open tab, woken by the bus.

``follow`` asks for what a page shows, shows it, and waits for a ring. It ends when the
tab is closed, the session has ended, or another page of the tab has begun. Must never
poll the database: between rings it wakes only to see whether anybody is still looking.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import reflex as rx

from cmbcluster.bus.port import Ring
from cmbcluster.domain.actors import Actor
from cmbcluster.errors import DatabaseUnavailable, DependencyError, UserError
from cmbcluster.web.guard import AGAIN_SECONDS, actor_of, asked_for, find_actor, session_token, sign_in_path
from cmbcluster.web.shell import CANNOT_READ, Base, Shell, show_shell
from cmbcluster.wiring import parts

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0  # how often an idle task sees whether its tab is still there
SETTLE_SECONDS = 0.05  # rings that come together are one look
LIST_LIMIT = 25

Facts = TypeVar("Facts")
StateT = TypeVar("StateT", bound=rx.State)

_socket_of: Callable[[str], str | None] = lambda _token: ""  # noqa: E731 - replaced by the app
_watchers: dict[str, asyncio.Event] = {}


def know_tabs(socket_of: Callable[[str], str | None]) -> None:
    """Tell this module how to find a tab's open socket: its id, or None when there is none."""
    global _socket_of
    _socket_of = socket_of


class Watch:
    """One tab's wait for something to look at."""

    def __init__(self, state: rx.State, actor: Actor, rings: AsyncIterator[Ring], replaced: asyncio.Event) -> None:
        self.state = state
        self.actor = actor
        self.signed_out = False
        self.unsure = False  # whether the session could not be asked about the last time
        self._token = session_token(state)
        self._client = state.router.session.client_token
        # Somebody who knows a tab's token may connect with it when the tab is gone. What was
        # begun for one socket is therefore never shown to another.
        self._socket = _socket_of(self._client)
        self._rings = rings
        self._ring: asyncio.Future[Ring] | None = None
        self._replaced = asyncio.ensure_future(replaced.wait())
        self._first = True
        self._absent = 0
        self._looked = asyncio.get_running_loop().time()

    async def turn(self, within: float | None = None, *, again: bool = False) -> str:
        """Wait. ``look``: something changed; ``tick``: ``within`` passed; empty: the end.

        ``again``: the last look failed, so the next one does not wait for a change.
        """
        if self._first:
            self._first = False
            return "look"
        clock = asyncio.get_running_loop()
        while True:
            if self._ring is None:
                self._ring = asyncio.ensure_future(anext(self._rings))
            wait = AGAIN_SECONDS if again else min(LOOK_SECONDS, within or LOOK_SECONDS)
            waiting: set[asyncio.Future[Any]] = {self._ring, self._replaced}
            await asyncio.wait(waiting, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if self._replaced.done():
                return ""
            rang = self._ring.done() or again
            if self._ring.done():
                await self._settle()
            if clock.time() - self._looked >= LOOK_SECONDS or rang:
                self._looked = clock.time()
                if not await self._still_there():
                    return ""
            if rang:
                return "look"
            if within is not None:
                return "tick"

    async def _settle(self) -> None:
        """Take all rings that arrive together."""
        await asyncio.sleep(SETTLE_SECONDS)
        for _ in range(100):
            if self._ring is not None and not self._ring.done():
                return
            self._ring = asyncio.ensure_future(anext(self._rings))
            await asyncio.sleep(0)

    async def _still_there(self) -> bool:
        """Whether the tab is open and the session lives."""
        # A page that looks again by itself is no activity of the person.
        try:
            actor = await find_actor(self.state, touch=False)
        except DependencyError:
            # Unknown is not signed out. Nothing is shown until it is known again.
            self.unsure = True
            return True
        self.unsure = False
        if actor is None or actor.user_id != self.actor.user_id:
            self.signed_out = actor is None
            return False
        self.actor = actor
        now = _socket_of(self._client)
        if now is not None and now != self._socket:
            return False  # A tab that reconnected began a watch of its own.
        # A socket that reconnects is away for a moment; twice in a row is gone.
        self._absent = 0 if now is not None else self._absent + 1
        return self._absent < 2

    def holds(self) -> bool:
        """Whether the state still belongs to who asked; checked under its lock before showing.

        A tab without a socket here may have one in another replica by now, which shows what is
        put into the state to whoever holds it. A tab that comes back looks anew by itself.
        """
        same_socket = _socket_of(self._client) == self._socket
        return not self._replaced.done() and same_socket and session_token(self.state) == self._token

    def close(self) -> None:
        """Cancel what waits."""
        self._replaced.cancel()
        if self._ring is not None:
            self._ring.cancel()


@asynccontextmanager
async def watching(state: rx.State) -> AsyncIterator[Watch]:
    """A watch that replaces the one the tab's former page held."""
    actor = await actor_of(state)
    client = state.router.session.client_token
    replaced = asyncio.Event()
    if (before := _watchers.get(client)) is not None:
        before.set()
    _watchers[client] = replaced
    topics = [f"user:{actor.person()}", f"session:{actor.session_id}"]
    try:
        async with parts().bus.subscribe(*topics) as rings:
            watch = Watch(state, actor, rings, replaced)
            try:
                yield watch
            finally:
                watch.close()
    finally:
        if _watchers.get(client) is replaced:
            del _watchers[client]


class Page(ABC, Generic[StateT, Facts]):
    """How one page is filled. ``base`` holds what the frame asked for in the same turn."""

    base: Base

    @abstractmethod
    async def gather(self, actor: Actor) -> Facts:
        """Ask the services for what the page shows."""

    @abstractmethod
    async def show(self, state: StateT, facts: Facts) -> None:
        """Put it into the state; runs under the state's lock."""

    def pace(self) -> float | None:
        """Seconds between ticks, or None when only rings count."""
        return None

    async def tick(self, state: StateT, actor: Actor) -> None:
        """What a tick does; takes the state's lock itself."""


async def base_facts(actor: Actor) -> Base:
    """What the frame of every page needs."""
    services = parts()
    return Base(
        person=await services.accounts.person(actor),
        limits=await services.accounts.limits(actor),
        environments=await services.environments.page(actor, limit=LIST_LIMIT),
        notices=await services.notices.recent(actor),
        now=datetime.now(UTC),
    )


async def follow(state: StateT, page: Page[StateT, Any]) -> Any:
    """Keep ``page`` true until nobody looks at it. Returns an event for a signed-out tab."""
    async with watching(state) as watch:
        again = False
        while why := await watch.turn(page.pace(), again=again):
            if why == "tick":
                if watch.holds() and not watch.unsure:
                    await page.tick(state, watch.actor)
            else:
                again = not await _look(state, page, watch)
    return rx.redirect(sign_in_path(asked_for(state), ended=True)) if watch.signed_out else None


async def _look(state: StateT, page: Page[StateT, Any], watch: Watch) -> bool:
    """Ask and show; says whether what was asked for could be read."""
    trouble, facts, base, read = "", None, None, True
    try:
        if watch.unsure:
            raise DatabaseUnavailable("whose page this is could not be asked")
        base = page.base = await base_facts(watch.actor)
        facts = await page.gather(watch.actor)
    except UserError as wrong:
        trouble = str(wrong)
    except DependencyError:
        logger.warning("A page could not be read", exc_info=True, extra={"operation_id": watch.actor.operation_id})
        trouble, read = CANNOT_READ, False
    async with state:
        if not watch.holds():
            return read
        shell = await state.get_state(Shell)
        shell.trouble = trouble
        if base is not None:
            show_shell(shell, base)
        if base is not None and facts is not None:
            await page.show(state, facts)
    return read
