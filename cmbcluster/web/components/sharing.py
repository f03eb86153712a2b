"""Sharing: with whom an environment is shared, and what others share with the person.

What is shown comes from the service on every turn of a page. It must never look for people:
the service does, and says no more of them than a name.
"""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import reflex as rx

from cmbcluster.domain.views import GuestView, SharedView
from cmbcluster.errors import InvalidInput, NotFound, UserError
from cmbcluster.web.access import signed_in
from cmbcluster.web.arguments import environment_id, fields, text
from cmbcluster.web.components.kit import button, card, field, icon, open_button, text_input, tile
from cmbcluster.web.guard import actor_of
from cmbcluster.web.js.parts import Form, When
from cmbcluster.web.shell import tell, telling
from cmbcluster.web.words import epoch, icon_of
from cmbcluster.wiring import parts


@dataclass(frozen=True)
class GuestRow:
    """Somebody who may open the environment."""

    id: str = ""
    name: str = ""
    since: float = 0.0


@dataclass(frozen=True)
class SharedRow:
    """Something of somebody else that the person may open."""

    id: str = ""
    name: str = ""
    icon: str = "custom"
    about: str = ""
    open_href: str = ""
    since: float = 0.0


class SharingState(rx.State):
    """The guests of the environment whose page is shown, and what is typed to find another."""

    environment: str = ""
    guests: list[GuestRow] = []
    errors: dict[str, str] = {}
    tried: int = 0  # with each success the field is made anew, empty

    @rx.event
    @signed_in
    async def share(self, form: dict[str, str]) -> None:
        """Let somebody open the environment."""
        wanted = fields(form).get("person", "")
        async with telling(self) as shell:
            try:
                guest = await parts().shares.share(await actor_of(self), environment_id(self.environment), wanted)
            except UserError as wrong:
                self.errors = {wrong.field if isinstance(wrong, InvalidInput) else "person": str(wrong)}
                return
            self.errors = {}
            self.tried += 1
            tell(shell, f"{guest.name} can open it now.", "They find it on their Home.")

    @rx.event
    @signed_in
    async def withdraw(self, raw_id: str) -> None:
        """Stop sharing with one person."""
        async with telling(self) as shell:
            await parts().shares.withdraw(await actor_of(self), environment_id(self.environment), _person_id(raw_id))
            tell(shell, "It is not shared with them any more.", "What they had open closes within a minute.")


def _person_id(raw_id: object) -> UUID:
    try:
        return UUID(text(raw_id, 40))
    except ValueError as wrong:
        raise NotFound("It is not shared with this person.", "Reload the page.") from wrong


def show_guests(state: SharingState, environment: str, guests: tuple[GuestView, ...]) -> None:
    """Put an environment's guests into the state."""
    if state.environment != environment:
        state.environment, state.errors = environment, {}
    state.guests = [GuestRow(str(guest.id), guest.name, epoch(guest.since)) for guest in guests]


def shared_row(view: SharedView) -> SharedRow:
    """Something shared, as a row."""
    return SharedRow(
        id=str(view.id),
        name=view.name,
        icon=icon_of(view.icon),
        about=f"{view.application_name} · shared by {view.owner_name}",
        open_href=f"/open/{view.id}",
        since=epoch(view.since),
    )


S: Any = SharingState  # Reflex turns its attributes into Vars


def _guest(row: Any) -> rx.Component:
    return rx.el.li(
        rx.el.span(icon("person", "s20"), class_name="three"),
        rx.el.div(
            rx.el.div(row.name, class_name="b cut"),
            rx.el.div(When.create(at=row.since, form="soon", before="since "), class_name="sm two"),
            class_name="grow",
        ),
        button(
            "Withdraw", cls="sm", on_click=S.withdraw(row.id), custom_attrs={"aria-label": f"Withdraw from {row.name}"}
        ),
        key=row.id,
    )


def guests_card() -> rx.Component:
    """Who may open it, and a field to add somebody; stands with the settings of an environment."""
    add = Form.create(
        field(
            "person",
            "E-mail address or name",
            text_input("person", S.errors, check=False, max_length=320, key=S.tried),
            S.errors,
            "A verified address, or the name from their sign-in. "
            "They can open it in a browser and work in it, and nothing else.",
        ),
        rx.el.div(button(icon("plus"), "Share", type="submit"), class_name="mt12"),
        class_name="wide-in",
        errors=S.errors,
        on_send=S.share,
        label="Share",
    )
    return card(
        "Shared with",
        rx.cond(
            S.guests.length() > 0,
            rx.el.ul(rx.foreach(S.guests, _guest), class_name="lines", aria_label="People it is shared with"),
        ),
        rx.el.div(add, class_name="in"),
        id_="guests",
        head=[rx.cond(S.guests.length() == 0, rx.el.span("nobody but you", class_name="sm three"))],
    )


def _shared(row: Any) -> rx.Component:
    return rx.el.li(
        tile(row.icon),
        rx.el.div(
            rx.el.div(row.name, class_name="b cut"), rx.el.div(row.about, class_name="sm two cut"), class_name="grow"
        ),
        open_button(row.open_href),
        key=row.id,
    )


def shared_card(rows: Any) -> rx.Component:
    """What others share with the person; nothing where nobody does."""
    return rx.cond(
        rows.length() > 0,
        card("Shared with you", rx.el.ul(rx.foreach(rows, _shared), class_name="lines"), id_="shared"),
    )
