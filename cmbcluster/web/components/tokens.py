"""Settings, *Tokens*: what scripts show in place of their person.

A new token is made by a part that asks our own route, so that it never comes into the state of
a page. Must never hold more of a token than its first characters.
"""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import reflex as rx

from cmbcluster.domain.actors import Role, Scope
from cmbcluster.domain.views import PersonView, TokenView
from cmbcluster.errors import NotFound
from cmbcluster.web.access import signed_in
from cmbcluster.web.arguments import text
from cmbcluster.web.components.kit import button, card, empty, icon, icon_tile
from cmbcluster.web.guard import actor_of
from cmbcluster.web.js.parts import DialogClose, DialogTitle, Form, Sheet, TokenMaker, When
from cmbcluster.web.shell import tell, telling
from cmbcluster.web.words import epoch
from cmbcluster.wiring import parts

# What is offered is what opens something on this platform; files join when it keeps some.
OFFERED: dict[Scope, tuple[str, str]] = {
    Scope.READ: ("Read", "See your environments, their output, the catalogue and your activity."),
    Scope.LAUNCH: ("Launch", "Launch, change, stop and delete environments, and reach them at their addresses."),
    Scope.ADMIN: ("Admin", "What admins may do, while you are one."),
}


@dataclass(frozen=True)
class ScopeChoice:
    """A scope in the form."""

    value: str = ""
    name: str = ""
    says: str = ""
    on: bool = False


@dataclass(frozen=True)
class TokenRow:
    """One token in the list."""

    id: str = ""
    name: str = ""
    prefix: str = ""
    scopes: str = ""
    made_at: float = 0.0
    used_at: float = 0.0
    ends_at: float = 0.0
    expired: bool = False


class TokensState(rx.State):
    """The list, and the dialog that confirms a revocation."""

    rows: list[TokenRow] = []
    choices: list[ScopeChoice] = []
    revoking_id: str = ""
    revoking_name: str = ""

    @rx.event
    @signed_in
    async def ask_revoke(self, raw_id: str) -> None:
        """Open the dialog that says what happens."""
        async with telling(self):
            wanted = _token_id(raw_id)
            for view in await parts().api_tokens.mine(await actor_of(self)):
                if view.id == wanted:
                    self.revoking_id, self.revoking_name = str(view.id), view.name
                    return
            raise NotFound("There is no such token.", "It may be revoked already.")

    @rx.event
    @signed_in
    async def close_revoke(self, is_open: bool = False) -> None:
        """Keep it."""
        if not is_open:
            self.revoking_id = ""

    @rx.event
    @signed_in
    async def revoke(self, _form: dict[str, str] | None = None) -> None:
        """Revoke what the dialog names."""
        async with telling(self) as shell:
            raw_id, self.revoking_id = self.revoking_id, ""
            await parts().api_tokens.revoke(await actor_of(self), _token_id(raw_id))
            tell(shell, f"{self.revoking_name} is revoked.", "It opens nothing any more.")


def _token_id(raw_id: object) -> UUID:
    try:
        return UUID(text(raw_id, 40))
    except ValueError as wrong:
        raise NotFound("There is no such token.", "It may be revoked already.") from wrong


def show_tokens(state: TokensState, views: tuple[TokenView, ...], person: PersonView) -> None:
    """Put the person's tokens into the state, and what a new one of theirs may do."""
    state.rows = [token_row(view) for view in views]
    state.choices = [
        ScopeChoice(scope.value, name, says, scope is Scope.READ)
        for scope, (name, says) in OFFERED.items()
        if scope is not Scope.ADMIN or person.role is Role.ADMIN
    ]


def token_row(view: TokenView) -> TokenRow:
    """One token in words."""
    return TokenRow(
        id=str(view.id),
        name=view.name,
        prefix=f"{view.prefix}…",
        scopes=", ".join(scope.value for scope in view.scopes),
        made_at=epoch(view.created_at),
        used_at=epoch(view.last_used_at),
        ends_at=epoch(view.expires_at),
        expired=view.expired,
    )


T: Any = TokensState


def _row(row: Any) -> rx.Component:
    used = rx.cond(row.used_at > 0, When.create(at=row.used_at, form="ago", before="used "), "never used")
    ends = rx.cond(row.ends_at > 0, When.create(at=row.ends_at, form="soon", before="expires "), "never expires")
    return rx.el.li(
        rx.el.span(icon("key", "s20"), class_name="three"),
        rx.el.div(
            rx.el.div(
                row.name,
                rx.el.span(row.scopes, class_name="tag"),
                rx.cond(row.expired, rx.el.span("Expired", class_name="tag warn")),
                class_name="row b",
            ),
            rx.el.div(
                rx.el.span(row.prefix, class_name="mono"),
                " · ",
                When.create(at=row.made_at, form="date", before="made "),
                " · ",
                used,
                rx.cond(row.expired, rx.fragment(), rx.fragment(" · ", ends)),
                class_name="sm two",
            ),
            class_name="grow",
        ),
        button(
            "Revoke",
            cls="sm",
            on_click=T.ask_revoke(row.id),
            custom_attrs={"aria-label": f"Revoke {row.name}"},
        ),
        key=row.id,
    )


def _dialog() -> rx.Component:
    return Sheet.create(
        rx.el.header(DialogTitle.create(rx.el.h2(f"Revoke {T.revoking_name}?"), as_child=True)),
        Form.create(
            rx.el.div(
                rx.el.p(
                    "Scripts that show it are refused from now on, and what they have open ends. "
                    "It cannot be brought back; make a new one instead.",
                    class_name="sm two",
                ),
                class_name="body",
            ),
            rx.el.footer(
                DialogClose.create(button("Keep it", cls="push"), as_child=True),
                button("Revoke token", cls="doom", type="submit"),
            ),
            on_send=T.revoke,
        ),
        open=T.revoking_id != "",
        on_open_change=T.close_revoke,
        role="alertdialog",
    )


def tokens_tab() -> rx.Component:
    """A form for a new one, and those there are."""
    nothing = empty(
        icon_tile("key"),
        "No tokens yet",
        "Make one for each script or machine, so that you can revoke them one by one.",
    )
    described = rx.el.a("How to use one", href="/api/v1/docs", target="_blank", class_name="link push sm")
    return rx.fragment(
        card("New token", TokenMaker.create(scopes=T.choices), id_="new-token", head=[described]),
        card(
            "Your tokens",
            rx.cond(T.rows.length() > 0, rx.el.ul(rx.foreach(T.rows, _row), class_name="lines"), nothing),
            id_="tokens",
        ),
        _dialog(),
    )
