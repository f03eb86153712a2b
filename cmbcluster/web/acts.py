"""What a person can do to an environment, from any page: start, stop, extend, update, delete.

The rows change through the bus, not here: a phase on screen always comes from the
database. Must never decide whether an act is allowed; the service does.
"""

from __future__ import annotations

from typing import Any

import reflex as rx

from cmbcluster.domain.lifecycle import LAUNCHING
from cmbcluster.domain.sources import PythonSource
from cmbcluster.errors import InvalidInput, UserError
from cmbcluster.web.access import signed_in
from cmbcluster.web.arguments import environment_id, fields, text
from cmbcluster.web.guard import actor_of
from cmbcluster.web.shell import tell, telling
from cmbcluster.web.words import bytes_words
from cmbcluster.wiring import parts


class Acts(rx.State):
    """Acts on environments, and the dialog that confirms a deletion."""

    deleting_id: str = ""
    deleting_name: str = ""
    deleting_workspace: str = ""
    deleting_place: str = ""  # where an operator finds a workspace that stays
    delete_errors: dict[str, str] = {}

    @rx.event
    @signed_in
    async def start(self, raw_id: str, size: str = "") -> None:
        """Start again: same application, workspace and packages."""
        async with telling(self) as shell:
            view = await parts().environments.start(await actor_of(self), environment_id(raw_id), size=text(size, 40))
            tell(shell, f"{view.name} is on its way.", "You may close this page.", about=str(view.id))

    @rx.event
    @signed_in
    async def stop(self, raw_id: str) -> None:
        """Stop, or cancel a launch. The workspace is kept, so nothing is asked."""
        async with telling(self) as shell:
            actor, which = await actor_of(self), environment_id(raw_id)
            was = await parts().environments.get(actor, which)
            view = await parts().environments.stop(actor, which)
            what = "The launch is being cancelled." if was.phase in LAUNCHING else "It is stopping."
            tell(shell, f"{view.name}: {what[0].lower()}{what[1:]}", "Its workspace is kept.", about=str(view.id))

    @rx.event
    @signed_in
    async def extend(self, raw_id: str) -> None:
        """Give a running environment more time."""
        async with telling(self) as shell:
            view = await parts().environments.extend(await actor_of(self), environment_id(raw_id))
            tell(shell, f"{view.name} runs longer.", "The new time is on its page.", about=str(view.id))

    @rx.event
    @signed_in
    async def update(self, raw_id: str) -> None:
        """Take the newest content at the next start."""
        async with telling(self) as shell:
            view = await parts().environments.update(await actor_of(self), environment_id(raw_id))
            what = "packages" if isinstance(view.source, PythonSource) else "image"
            tell(shell, f"{view.name} takes the newest {what}.", "It is resolved when it starts next.")

    @rx.event
    @signed_in
    async def run(self, command: str) -> Any:
        """What the palette or a toast chose, as ``act:id``."""
        act, _, raw_id = text(command, 80).partition(":")
        handlers: dict[str, Any] = {"start": Acts.start, "stop": Acts.stop, "extend": Acts.extend}
        return handlers[act](raw_id) if act in handlers else None

    @rx.event
    @signed_in
    async def ask_delete(self, raw_id: str) -> None:
        """Open the dialog that says what goes and what stays."""
        async with telling(self):
            view = await parts().environments.get(await actor_of(self), environment_id(raw_id))
            self.deleting_id, self.deleting_name = str(view.id), view.name
            is_local = parts().settings.runtime == "local"
            self.deleting_place = f"environments/{view.slug}/workspace" if is_local else f"workspace-{view.slug}"
            self.deleting_workspace = bytes_words(view.workspace_bytes) if view.workspace_bytes else ""
            self.delete_errors = {}

    @rx.event
    @signed_in
    async def close_delete(self, is_open: bool = False) -> None:
        """Keep it."""
        if not is_open:
            self.deleting_id = ""

    @rx.event
    @signed_in
    async def delete(self, form: dict[str, str]) -> Any:
        """Delete what the dialog names, with or without its workspace."""
        given = fields(form)
        async with telling(self) as shell:
            actor, which = await actor_of(self), environment_id(self.deleting_id)
            remove = given.get("workspace") == "remove"
            try:
                await parts().environments.delete(
                    actor, which, typed_name=given.get("typed_name", "").strip(), remove_workspace=remove
                )
            except UserError as wrong:
                at = wrong.field if isinstance(wrong, InvalidInput) else "form"
                self.delete_errors = {"typed_name" if at == "typed_name" else "form": str(wrong)}
                return None
            name, self.deleting_id, self.delete_errors = self.deleting_name, "", {}
            tell(
                shell, f"{name} is being deleted.", "Its workspace goes with it." if remove else "Its workspace stays."
            )
            if str(which) in str(self.router.url.path):
                return rx.redirect("/environments")
        return None
