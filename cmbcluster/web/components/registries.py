"""Settings, *Registries*: the accounts with which private images are looked up and pulled.

An account is entered by a part that asks our own route, so that its secret never comes into
the state of a page. Must never hold more of an account than its registry and user name.
"""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import reflex as rx

from cmbcluster.domain.views import RegistryAccountView
from cmbcluster.errors import NotFound
from cmbcluster.web.access import signed_in
from cmbcluster.web.arguments import text
from cmbcluster.web.components.kit import button, card, empty, icon, icon_tile, note
from cmbcluster.web.guard import actor_of
from cmbcluster.web.js.parts import DialogClose, DialogTitle, Form, RegistryForm, Sheet, When
from cmbcluster.web.shell import tell, telling
from cmbcluster.web.words import epoch
from cmbcluster.wiring import parts


@dataclass(frozen=True)
class RegistryRow:
    """One account in the list."""

    id: str = ""
    registry: str = ""
    username: str = ""
    since: float = 0.0


class RegistriesState(rx.State):
    """The list, and the dialog that confirms a removal."""

    rows: list[RegistryRow] = []
    hosts: list[str] = []
    usable: bool = True
    removing_id: str = ""
    removing_host: str = ""

    @rx.event
    @signed_in
    async def ask_remove(self, raw_id: str) -> None:
        """Open the dialog that says what happens."""
        async with telling(self):
            wanted = _account_id(raw_id)
            for view in await parts().registries.mine(await actor_of(self)):
                if view.id == wanted:
                    self.removing_id, self.removing_host = str(view.id), view.registry
                    return
            raise NotFound("There is no such account.", "It may be removed already.")

    @rx.event
    @signed_in
    async def close_remove(self, is_open: bool = False) -> None:
        """Keep it."""
        if not is_open:
            self.removing_id = ""

    @rx.event
    @signed_in
    async def remove(self, _form: dict[str, str] | None = None) -> None:
        """Remove what the dialog names."""
        async with telling(self) as shell:
            raw_id, self.removing_id = self.removing_id, ""
            await parts().registries.remove(await actor_of(self), _account_id(raw_id))
            tell(shell, f"Your account at {self.removing_host} is removed.", "Nothing of it is kept here.")


def _account_id(raw_id: object) -> UUID:
    try:
        return UUID(text(raw_id, 40))
    except ValueError as wrong:
        raise NotFound("There is no such account.", "It may be removed already.") from wrong


def show_registries(state: RegistriesState, views: tuple[RegistryAccountView, ...]) -> None:
    """Put the person's accounts into the state, and the registries that there can be one for."""
    here = parts()
    state.rows = [RegistryRow(str(view.id), view.registry, view.username, epoch(view.since)) for view in views]
    state.hosts = list(dict.fromkeys(rule.partition("/")[0] for rule in here.settings.image_registries))
    state.usable = here.runtime.runs_images and bool(state.hosts)


R: Any = RegistriesState


def _row(row: Any) -> rx.Component:
    return rx.el.li(
        rx.el.span(icon("box", "s20"), class_name="three"),
        rx.el.div(
            rx.el.div(row.registry, class_name="b"),
            rx.el.div(
                row.username, " · ", When.create(at=row.since, form="date", before="since "), class_name="sm two"
            ),
            class_name="grow cut",
        ),
        button(
            "Remove",
            cls="sm",
            on_click=R.ask_remove(row.id),
            custom_attrs={"aria-label": f"Remove the account at {row.registry}"},
        ),
        key=row.id,
    )


def _dialog() -> rx.Component:
    return Sheet.create(
        rx.el.header(DialogTitle.create(rx.el.h2(f"Remove your account at {R.removing_host}?"), as_child=True)),
        Form.create(
            rx.el.div(
                rx.el.p(
                    "What runs goes on. Private images from there cannot be started any more until you add it again.",
                    class_name="sm two",
                ),
                class_name="body",
            ),
            rx.el.footer(
                DialogClose.create(button("Keep it", cls="push"), as_child=True),
                button("Remove account", cls="doom", type="submit"),
            ),
            on_send=R.remove,
        ),
        open=R.removing_id != "",
        on_open_change=R.close_remove,
        role="alertdialog",
    )


def registries_tab() -> rx.Component:
    """A form for a new one, and those there are."""
    nothing = empty(
        icon_tile("box"),
        "No accounts yet",
        "Public images need none. Add one for each registry that has private images of yours.",
    )
    none_here = note(icon("info"), "This platform runs Python packages, not container images.")
    return rx.fragment(
        rx.cond(R.usable, card("New account", RegistryForm.create(hosts=R.hosts), id_="new-account"), none_here),
        card(
            "Your accounts",
            rx.cond(R.rows.length() > 0, rx.el.ul(rx.foreach(R.rows, _row), class_name="lines"), nothing),
            id_="accounts-at-registries",
        ),
        _dialog(),
    )
