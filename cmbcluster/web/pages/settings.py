"""``/settings``: the person's profile, the look of the pages, where they are signed in."""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import reflex as rx
from reflex_base.style import set_color_mode

from cmbcluster.domain.actors import Actor
from cmbcluster.domain.views import IdentityView, LimitsView, PersonView, RegistryAccountView, SessionView, TokenView
from cmbcluster.errors import NotFound, UserError
from cmbcluster.web.access import signed_in
from cmbcluster.web.addresses import asked
from cmbcluster.web.arguments import fields, text
from cmbcluster.web.components.kit import (
    button,
    card,
    fact_if,
    facts,
    field,
    icon,
    page_head,
    skeleton_lines,
    text_input,
)
from cmbcluster.web.components.layout import frame
from cmbcluster.web.components.posting import Posting
from cmbcluster.web.components.registries import RegistriesState, registries_tab, show_registries
from cmbcluster.web.components.tokens import TokensState, show_tokens, tokens_tab
from cmbcluster.web.guard import actor_of
from cmbcluster.web.js.parts import Form, Kept, Theme, When
from cmbcluster.web.live import Page, follow
from cmbcluster.web.shell import tell, telling
from cmbcluster.web.words import bytes_words, cpu, epoch, hours_words, plural
from cmbcluster.wiring import parts

PATH = "/settings"
TABS = (
    ("profile", "Profile", "person", "Your name, and what your tier allows."),
    ("appearance", "Appearance", "sun", "Kept in this browser."),
    ("tokens", "Tokens", "key", "For scripts that act for you, at a terminal or anywhere else."),
    ("registries", "Registries", "box", "Your accounts where private container images are."),
    ("sessions", "Sessions", "screen", "Where you are signed in. End what you do not know."),
)


@dataclass(frozen=True)
class Profile:
    """The person as they see themselves."""

    name: str = ""
    email: str = ""
    role: str = ""
    tier: str = ""
    since: float = 0.0
    at_once: str = ""
    each: str = ""
    uptime: str = ""
    workspace: str = ""


@dataclass(frozen=True)
class AccountRow:
    """An account elsewhere that signs the person in, or one that could."""

    name: str = ""
    email: str = ""
    since: float = 0.0
    link: str = ""  # where its form goes


@dataclass(frozen=True)
class Known:
    """What the settings ask for beside what the frame knows."""

    sessions: tuple[SessionView, ...]
    identities: tuple[IdentityView, ...]
    tokens: tuple[TokenView, ...]
    registries: tuple[RegistryAccountView, ...]


@dataclass(frozen=True)
class SessionRow:
    """One place where the person is signed in."""

    id: str = ""
    browser: str = ""
    address: str = ""
    seen_at: float = 0.0
    since: float = 0.0
    ends_at: float = 0.0
    current: bool = False


class SettingsState(rx.State):
    """What the settings show."""

    ready: bool = False
    tab: str = "profile"
    profile: Profile = Profile()
    accounts: list[AccountRow] = []
    linkable: list[AccountRow] = []
    sessions: list[SessionRow] = []
    errors: dict[str, str] = {}

    @rx.event(background=True)
    @signed_in
    async def watch(self) -> Any:
        """Keep the settings true while they are looked at."""
        tab = asked(self.router.url.query_parameters, "tab")
        async with self:
            self.tab = tab if tab in [key for key, *_ in TABS] else "profile"
            self.errors = {}
        return await follow(self, SettingsPage())

    @rx.event
    @signed_in
    async def rename(self, form: dict[str, str]) -> None:
        """Change the person's name."""
        given = fields(form).get("name", "")
        async with telling(self) as shell:
            try:
                person = await parts().accounts.rename(await actor_of(self), given)
            except UserError as wrong:
                self.errors = {"name": str(wrong)}
                return
            self.errors = {}
            tell(shell, f"You are {person.name} now.")

    @rx.event
    @signed_in
    async def end(self, raw_id: str) -> None:
        """End one session; what it has open is signed out at once."""
        async with telling(self) as shell:
            await parts().sessions.end(await actor_of(self), _session_id(raw_id))
            tell(shell, "The session is ended.", "Whoever used it is signed out.")

    @rx.event
    @signed_in
    async def end_others(self) -> None:
        """End every session but this one."""
        async with telling(self) as shell:
            ended = await parts().sessions.end_others(await actor_of(self))
            tell(shell, f"{plural(ended, 'session')} ended.", "You stay signed in here.")


def _session_id(raw_id: object) -> UUID:
    try:
        return UUID(text(raw_id, 40))
    except ValueError as wrong:
        raise NotFound("There is no such session.", "It may have ended already.") from wrong


class SettingsPage(Page[SettingsState, Known]):
    """The settings need sessions, accounts and tokens beside what the frame asks for."""

    async def gather(self, actor: Actor) -> Known:
        here = parts()
        return Known(
            await here.sessions.mine(actor),
            await here.sign_ins.identities(actor),
            await here.api_tokens.mine(actor),
            await here.registries.mine(actor),
        )

    async def show(self, state: SettingsState, facts: Known) -> None:
        state.profile = profile(self.base.person, self.base.limits)
        state.sessions = [session_row(view) for view in facts.sessions]
        providers = parts().sign_ins.providers()
        used = {view.provider for view in facts.identities}
        # Test people have one account each, ours, and nothing to link it with.
        rows = [AccountRow(view.name, view.email, epoch(view.since)) for view in facts.identities]
        state.accounts = rows if providers else []
        state.linkable = [AccountRow(name=p.name, link=f"/auth/{p.id}/link") for p in providers if p.id not in used]
        show_tokens(await state.get_state(TokensState), facts.tokens, self.base.person)
        show_registries(await state.get_state(RegistriesState), facts.registries)
        state.ready = True


def profile(person: PersonView, limits: LimitsView) -> Profile:
    """The person in words."""
    most = limits.limits
    return Profile(
        name=person.name,
        email=person.email,
        role="Admin" if person.role.value == "admin" else "Researcher",
        tier=person.tier.value.capitalize(),
        since=epoch(person.created_at),
        at_once=f"{plural(most.running_at_once, 'environment')} at once, {most.kept} kept",
        each=f"{cpu(most.cpu_millis)} CPU, {bytes_words(most.memory_bytes)} at most",
        uptime=f"{hours_words(most.longest_uptime_seconds)} at most",
        workspace=f"{bytes_words(most.workspace_bytes)} each",
    )


def session_row(view: SessionView) -> SessionRow:
    """One session in words."""
    return SessionRow(
        id=str(view.id),
        browser=view.browser or "Unknown browser",
        address=view.address,
        seen_at=epoch(view.last_seen_at),
        since=epoch(view.created_at),
        ends_at=epoch(view.expires_at),
        current=view.current,
    )


S: Any = SettingsState


def _profile() -> rx.Component:
    p = S.profile
    name = Form.create(
        field(
            "name",
            "Name",
            text_input("name", S.errors, default_value=p.name, check=False, max_length=100, key=p.name),
            S.errors,
            "Shown to you, to admins and to those you share with.",
        ),
        rx.el.div(button("Save", type="submit"), class_name="mt12"),
        class_name="wide-in",
        errors=S.errors,
        on_send=S.rename,
        label="Profile",
    )
    you = facts(
        ("E-mail", p.email),
        ("Role", p.role),
        fact_if(p.since > 0, "Here since", When.create(at=p.since, form="date")),
    )
    tier = facts(("Running", p.at_once), ("Size", p.each), ("Uptime", p.uptime), ("Workspace", p.workspace))
    out = rx.el.button(icon("exit"), "Sign out", type="submit", class_name="btn", custom_attrs={"form": "sign-out"})
    return rx.fragment(
        card("You", rx.el.div(you, class_name="in"), rx.el.div(name, class_name="in line-top"), id_="you"),
        card(
            "Your tier", rx.el.div(tier, class_name="in"), id_="tier", head=[rx.el.span(p.tier, class_name="tag push")]
        ),
        rx.cond(S.accounts.length() > 0, _accounts()),
        rx.el.div(out, class_name="mt16"),
    )


def _account(row: Any) -> rx.Component:
    return rx.el.li(
        rx.el.span(icon("person", "s20"), class_name="three"),
        rx.el.div(
            rx.el.div(row.name, class_name="b"),
            rx.el.div(
                rx.cond(row.email != "", rx.fragment(row.email, " · "), rx.fragment()),
                When.create(at=row.since, form="date", before="since "),
                class_name="sm two",
            ),
            class_name="grow",
        ),
        key=row.name + row.email,
    )


def _link(row: Any) -> rx.Component:
    says = "Sign in with it too. Needs a sign-in of the last 10 minutes."
    return rx.el.li(
        rx.el.div(rx.el.div(row.name, class_name="b"), rx.el.div(says, class_name="sm two"), class_name="grow"),
        Posting.create(
            button(f"Link {row.name}", type="submit", cls="sm"), action=row.link, method="post", class_name="row"
        ),
        key=row.link,
    )


def _accounts() -> rx.Component:
    """What signs the person in, and what could."""
    return card(
        "Accounts",
        rx.el.ul(rx.foreach(S.accounts, _account), rx.foreach(S.linkable, _link), class_name="lines"),
        id_="accounts",
    )


def _appearance() -> rx.Component:
    def line(title: Any, says: Any, control: Any) -> rx.Component:
        return rx.el.li(
            rx.el.div(rx.el.div(title, class_name="b"), rx.el.div(says, class_name="sm two"), class_name="grow"),
            control,
        )

    return rx.fragment(
        card(
            "Theme", rx.el.div(Theme.create(on_choose=lambda mode: set_color_mode(mode)), class_name="in"), id_="theme"
        ),
        card(
            "Reading and typing",
            rx.el.ul(
                line(
                    "Roomy",
                    "Taller rows and slightly larger text.",
                    Kept.create(name="cmb.roomy", label="Roomy", usual=False, mark="roomy"),
                ),
                line(
                    "Single-letter shortcuts",
                    "c, o, e, s, j, k and those after g. Ctrl K works in any case.",
                    Kept.create(name="cmb.keys", label="Single-letter shortcuts", usual=True, mark=""),
                ),
                class_name="lines",
            ),
            id_="reading",
        ),
    )


def _session(row: Any) -> rx.Component:
    here = rx.cond(row.current, rx.el.span("This one", class_name="tag ok"))
    end = rx.cond(
        row.current,
        rx.fragment(),
        button("End", cls="sm", on_click=S.end(row.id), custom_attrs={"aria-label": f"End {row.browser}"}),
    )
    return rx.el.li(
        rx.el.span(icon("screen", "s20"), class_name="three"),
        rx.el.div(
            rx.el.div(row.browser, here, class_name="row b"),
            rx.el.div(
                When.create(at=row.seen_at, form="ago", before="Active "),
                " · ",
                When.create(at=row.since, form="soon", before="signed in "),
                " · ",
                row.address,
                class_name="sm two",
            ),
            class_name="grow",
        ),
        end,
        key=row.id,
    )


def _sessions() -> rx.Component:
    others = rx.cond(
        S.sessions.length() > 1,
        rx.el.span(button("End all others", cls="sm", on_click=S.end_others), class_name="push"),
    )
    return card(
        "Sessions", rx.el.ul(rx.foreach(S.sessions, _session), class_name="lines"), id_="sessions", head=[others]
    )


def settings_page() -> rx.Component:
    """The settings in their frame."""

    def nav(key: Any, name: Any, drawing: Any) -> rx.Component:
        return rx.cond(
            S.tab == key,
            rx.el.a(
                icon(drawing), name, href=f"{PATH}?tab={key}", class_name="nav", custom_attrs={"aria-current": "page"}
            ),
            rx.el.a(icon(drawing), name, href=f"{PATH}?tab={key}", class_name="nav"),
        )

    title = rx.match(S.tab, *[(key, name) for key, name, *_ in TABS], "Profile")
    says = rx.match(S.tab, *[(key, text_) for key, _, _, text_ in TABS], "")
    body = rx.match(
        S.tab,
        ("appearance", _appearance()),
        ("tokens", tokens_tab()),
        ("registries", registries_tab()),
        ("sessions", _sessions()),
        _profile(),
    )
    return frame(
        rx.el.div(
            rx.el.nav(
                *[nav(key, name, drawing) for key, name, drawing, _ in TABS], class_name="subnav", aria_label="Settings"
            ),
            rx.el.div(
                page_head(title, says),
                rx.cond(
                    S.ready, rx.el.div(body, class_name="col"), rx.el.section(skeleton_lines(6), class_name="card")
                ),
            ),
            class_name="set",
        ),
        here="Settings",
        crumbs=[("Settings", PATH), (title, "")],
    )
