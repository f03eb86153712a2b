"""What every page shows around its own content: the person, what is up, notices, messages.

Holds words and numbers for the browser only. Filled by ``live.follow`` on every turn;
must never ask a service by itself except to mark notices read.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import reflex as rx

from cmbcluster.domain.lifecycle import LAUNCHING, Phase
from cmbcluster.domain.views import EnvironmentPage, EnvironmentView, LimitsView, NoticeView, PersonView
from cmbcluster.errors import DependencyError, UserError
from cmbcluster.web.access import signed_in
from cmbcluster.web.guard import actor_of
from cmbcluster.web.palette import palette_items
from cmbcluster.web.rows import env_row, environment_path
from cmbcluster.web.words import epoch, initials, phase_glyph, phase_word, seconds_words, sentence
from cmbcluster.wiring import parts

TOASTS_KEPT = 5
CANNOT_READ = "This could not be read just now. What you see may be old; we keep trying."
NOT_NOW = ("That did not work just now.", "Nothing was changed. Try again in a moment.")
UP = LAUNCHING | {Phase.RUNNING, Phase.STOPPING, Phase.UNKNOWN}


@dataclass(frozen=True)
class Base:
    """What every turn of every page asks for."""

    person: PersonView
    limits: LimitsView
    environments: EnvironmentPage  # the newest 25
    notices: tuple[NoticeView, ...]
    now: datetime


@dataclass(frozen=True)
class UpRow:
    """A line of *Up now*."""

    id: str = ""
    name: str = ""
    href: str = ""
    glyph: str = ""
    family: str = ""
    word: str = ""
    turn: bool = False
    deadline: float = 0.0
    since: float = 0.0


@dataclass(frozen=True)
class NoticeRow:
    """A line behind the bell."""

    id: str = ""
    text: str = ""
    at: float = 0.0
    href: str = ""
    bad: bool = False
    unread: bool = False


@dataclass(frozen=True)
class Me:
    """The signed-in person, as the sidebar shows them."""

    name: str = ""
    initials: str = ""
    tier: str = ""
    running: int = 0
    running_limit: int = 0
    kept: int = 0


class Shell(rx.State):
    """The frame around every page."""

    who: str = ""  # "in", "out", or "" while unknown
    me: Me = Me()
    now: float = 0.0
    up: list[UpRow] = []
    ending: list[dict[str, Any]] = []
    notices: list[NoticeRow] = []
    unread: int = 0
    palette: list[dict[str, Any]] = []
    toasts: list[dict[str, Any]] = []
    said: str = ""
    alarm: str = ""
    trouble: str = ""
    _phases: dict[str, str] = {}

    @rx.event
    @signed_in
    async def seen(self) -> None:
        """The bell was opened: what it lists is read."""
        async with telling(self):
            await parts().notices.mark_read(await actor_of(self))
            self.unread = 0


def tell(shell: Shell, text: str, note: str = "", **more: Any) -> None:
    """Show a toast. ``more``: tone (ok, run, bad), act with href (and tab) or run.

    ``about`` names what it is about: the newest toast about it takes the place of those before.
    """
    about = more.get("about")
    if about is not None:
        shell.toasts = [toast for toast in shell.toasts if toast.get("about") != about]
    toast = {"id": secrets.token_hex(6), "text": text, "note": note, "tone": "ok", **more}
    shell.toasts = [*shell.toasts[-(TOASTS_KEPT - 1) :], toast]


@asynccontextmanager
async def telling(state: rx.State) -> AsyncIterator[Shell]:
    """What goes wrong inside becomes a message in words; nothing is swallowed silently."""
    shell = state if isinstance(state, Shell) else await state.get_state(Shell)
    try:
        yield shell
    except UserError as wrong:
        tell(shell, wrong.what, wrong.then, tone="bad")
    except DependencyError:
        tell(shell, *NOT_NOW, tone="bad")


def show_shell(shell: Shell, base: Base) -> None:
    """Put what was asked for into the frame."""
    person, limits = base.person, base.limits
    shell.who = "in"
    shell.me = Me(
        name=person.name,
        initials=initials(person.name),
        tier=str(limits.tier).capitalize(),
        running=limits.running,
        running_limit=limits.limits.running_at_once,
        kept=base.environments.total,
    )
    shell.now = base.now.timestamp()
    rows = base.environments.rows
    shell.up = [_up_row(view) for view in rows if view.phase in UP]
    shell.ending = [
        {
            "id": str(view.id),
            "name": view.name,
            "deadline": epoch(view.deadline_at),
            "can_extend": view.can_extend,
            "href": environment_path(view),
        }
        for view in rows
        if view.phase is Phase.RUNNING and view.deadline_at is not None
    ]
    shell.notices = [_notice_row(notice) for notice in base.notices]
    shell.unread = sum(1 for notice in base.notices if notice.unread)
    shell.palette = palette_items([env_row(view, base.now) for view in rows])
    _announce(shell, rows)


def _up_row(view: EnvironmentView) -> UpRow:
    family, word = phase_word(view.phase, view.source)
    return UpRow(
        id=str(view.id),
        name=view.name,
        href=environment_path(view),
        glyph=phase_glyph(view.phase),
        family=family,
        word=word,
        turn=view.phase in (Phase.SCHEDULING, Phase.STARTING),
        deadline=epoch(view.deadline_at) if view.phase in (Phase.RUNNING, Phase.UNKNOWN) else 0.0,
        since=epoch(view.asked_at) if view.phase in LAUNCHING else 0.0,
    )


def _notice_row(notice: NoticeView) -> NoticeRow:
    return NoticeRow(
        id=str(notice.id),
        text=notice.text,
        at=epoch(notice.at),
        href=f"/environments/{notice.environment_id}" if notice.environment_id else "",
        bad=notice.kind == "failed",
        unread=notice.unread,
    )


def _announce(shell: Shell, rows: tuple[EnvironmentView, ...]) -> None:
    """Say aloud, and show, what changed its phase since the last turn."""
    before, shell._phases = shell._phases, {str(view.id): view.phase.value for view in rows}
    for view in rows:
        was = before.get(str(view.id))
        if was is None or was == view.phase.value:
            continue
        if view.phase is Phase.RUNNING and was != Phase.UNKNOWN.value:
            took = (view.running_since - view.asked_at).total_seconds() if view.running_since else 0.0
            shell.said = f"{view.name} is running"
            note = f"Ready after {seconds_words(took)}." if took > 0 else ""
            tell(
                shell,
                f"{view.name} is running",
                note,
                tone="run",
                act="Open",
                href=f"/open/{view.id}",
                tab=True,
                about=str(view.id),
            )
        elif view.phase is Phase.FAILED:
            what = sentence(view.reason.what) if view.reason else ""
            shell.alarm = f"{view.name} failed. {what}".strip()
            tell(
                shell,
                f"{view.name} failed",
                what,
                tone="bad",
                act="See why",
                href=environment_path(view),
                about=str(view.id),
            )
        elif view.phase is Phase.STOPPED:
            shell.said = f"{view.name} is stopped"
