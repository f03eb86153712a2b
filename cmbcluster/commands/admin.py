"""``cmbcluster admin …``: the operator's commands. They work beside a running platform.

Nothing here may start, stop or adopt an environment.
"""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cmbcluster import logs, wiring
from cmbcluster.domain.actors import SYSTEM
from cmbcluster.domain.views import PersonView
from cmbcluster.settings import Settings, load_settings

_MIB = 1024**2
_GIB = 1024**3


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f} GiB" if size_bytes >= _GIB else f"{size_bytes / _MIB:.0f} MiB"


def show_builds(*, prune: bool) -> None:
    """A table of the builds, or of those that were removed."""
    console = Console(highlight=False)
    settings = load_settings()
    builds = wiring.local_builds(settings)
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
    settings = load_settings()
    logs.configure(settings)
    person = asyncio.run(_grant(settings, email))
    Console(highlight=False).print(escape(f"{person.name} ({person.email}) is an admin now."))


async def _grant(settings: Settings, email: str) -> PersonView:
    """Change the row and nothing else: opening all parts would look after environments too."""
    async with wiring.accounts_alone(settings) as accounts:
        return await accounts.grant_admin(SYSTEM, email)
