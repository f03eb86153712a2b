"""Messages: the newest one about a thing takes the place of what was said of it before."""

from __future__ import annotations

from typing import Any

from cmbcluster.web.shell import Shell, tell


async def test_the_newest_message_about_something_replaces_the_one_before(tab: Any) -> None:
    shell = await tab("elena").get_state(Shell)
    tell(shell, "planck is on its way.", about="planck")
    tell(shell, "You are Elena now.")
    tell(shell, "act is on its way.", about="act")
    tell(shell, "planck failed", about="planck", tone="bad")
    assert [toast["text"] for toast in shell.toasts] == ["You are Elena now.", "act is on its way.", "planck failed"]
