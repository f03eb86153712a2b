"""``cmbcluster admin …``: the operator's commands. They work beside a running platform.

Nothing here may start, stop or adopt an environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cmbcluster import logs, operating
from cmbcluster.domain.actors import SYSTEM, Role, Tier
from cmbcluster.domain.views import PersonView
from cmbcluster.services.accounts import AccountService
from cmbcluster.settings import Settings, load_settings

_MIB = 1024**2
_GIB = 1024**3


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f} GiB" if size_bytes >= _GIB else f"{size_bytes / _MIB:.0f} MiB"


def show_builds(*, prune: bool) -> None:
    """A table of the builds, or of those that were removed."""
    console = Console(highlight=False)
    settings = load_settings()
    builds = operating.local_builds(settings)
    shown = builds.prune() if prune else builds.list()
    total = _size(sum(build.size_bytes for build in shown))
    if not shown:
        console.print("No build is unused; nothing was removed." if prune else "Nothing has been built yet.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for head in ("Build", "Size", "Last used", "In use"):
        table.add_column(head, justify="right" if head == "Size" else "left")
    for build in shown:
        used = f"{build.last_used_at.astimezone():%Y-%m-%d %H:%M}" if build.last_used_at else "never"
        table.add_row(build.digest[:12], _size(build.size_bytes), used, "yes" if build.in_use else "no")
    console.print(table)
    if prune:
        console.print(f"Removed {len(shown)} builds, {total}.")
    else:
        console.print(f"{len(shown)} builds, {total}. Remove the unused ones with: cmbcluster admin builds --prune")


def grant_admin(email: str) -> None:
    """Make somebody an admin and say who it was."""
    _change(email, lambda accounts, user_id: accounts.set_role(SYSTEM, user_id, Role.ADMIN), "is an admin now")


def revoke_admin(email: str) -> None:
    """Take an admin's role away."""
    _change(email, lambda accounts, user_id: accounts.set_role(SYSTEM, user_id, Role.USER), "is no admin any more")


def set_tier(email: str, tier: Tier) -> None:
    """Give somebody a tier."""
    _change(email, lambda accounts, user_id: accounts.set_tier(SYSTEM, user_id, tier), f"has the tier {tier} now")


def disable(email: str) -> None:
    """Shut somebody out at once."""
    _change(email, lambda accounts, user_id: accounts.disable(SYSTEM, user_id), "is signed out and cannot sign in")


def sign_out(email: str) -> None:
    """End somebody's sessions."""
    _change(email, lambda accounts, user_id: accounts.sign_out(SYSTEM, user_id), "is signed out everywhere")


def enable(email: str) -> None:
    """Let somebody in again."""
    _change(email, lambda accounts, user_id: accounts.enable(SYSTEM, user_id), "can sign in again")


def rotate_keys(*, only_print: bool) -> None:
    """Sign sessions with a new key from now on, or print the file that would do so."""
    settings = load_settings()
    if only_print:
        print(operating.renewed_token_keys(settings))  # noqa: T201 - for a pipe, so nothing may break its lines
        return
    kept = operating.rotate_token_keys(settings)
    Console(highlight=False).print(
        f"Sessions are signed with a new key within a minute; {kept - 1} older ones still open theirs."
    )


def make_keys() -> None:
    """Print the content of a new file of keys."""
    print(operating.new_token_keys())  # noqa: T201 - for a pipe, so nothing may break its lines


def rotate_secrets() -> None:
    """Encrypt accounts at registries with a new key from now on."""
    settings = load_settings()
    logs.configure(settings)
    accounts, keys = asyncio.run(operating.renew_sealing_keys(settings))
    Console(highlight=False).print(
        f"{accounts} accounts at registries are encrypted with a new key; the file has {keys} keys. "
        "Running platforms take it at their next start."
    )


def _change(email: str, act: Callable[[AccountService, UUID], Awaitable[PersonView]], words: str) -> None:
    settings = load_settings()
    logs.configure(settings)
    person = asyncio.run(_changed(settings, email, act))
    Console(highlight=False).print(escape(f"{person.name} ({person.email}) {words}."))


async def _changed(
    settings: Settings, email: str, act: Callable[[AccountService, UUID], Awaitable[PersonView]]
) -> PersonView:
    """Change the row and nothing else: opening all parts would look after environments too."""
    async with operating.accounts_alone(settings) as accounts:
        return await act(accounts, (await accounts.person_with(SYSTEM, email)).id)
