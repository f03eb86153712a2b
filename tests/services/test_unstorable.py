"""What no database keeps: longer than its columns, or characters that are none. Refused in words, never our failure."""

from __future__ import annotations

from typing import Any

import pytest

from cmbcluster.domain.actors import Role, Tier
from cmbcluster.domain.orders import LaunchOrder
from cmbcluster.errors import InvalidInput, NotFound, Unstorable
from cmbcluster.identity.port import SignedIn
from tests.platform import Platform

ZERO = "a\0b"


async def test_a_zero_byte_finds_nothing(platform: Platform) -> None:
    parts, elena = platform.parts, await platform.sign_in("elena")
    with pytest.raises(NotFound, match="no such application"):
        await parts.catalogue.application(elena, ZERO)
    with pytest.raises(NotFound, match="no such application"):
        await parts.environments.launch(elena, LaunchOrder(ZERO, "planck", "small", 3600))
    with pytest.raises(NotFound, match="no such environment"):
        await parts.access.mint(elena, ZERO)
    view = await platform.launch(elena)
    with pytest.raises(InvalidInput, match="Nobody was found"):
        await parts.shares.share(elena, view.id, ZERO)
    for look in (parts.activity.page, parts.catalogue.applications, parts.environments.page):
        with pytest.raises(InvalidInput, match="invisible") as refused:
            await look(elena, search=ZERO)
        assert refused.value.field == "search"


async def test_what_no_check_has_found_is_refused_too(platform: Platform) -> None:
    """The last net, which SQLite does not need: it keeps and looks for anything."""
    parts, elena = platform.parts, await platform.sign_in("elena")
    if not parts.settings.on_postgresql:
        assert await parts.catalogue.applications(elena, category=ZERO) == ()
        return
    with pytest.raises(Unstorable, match="cannot be kept") as refused:
        await parts.catalogue.applications(elena, category=ZERO)
    # What the database says of it goes into logs; what people typed does not.
    assert "x00b" not in str(refused.value.__cause__)
    with pytest.raises(Unstorable, match="cannot be kept"):
        await parts.activity.page(elena, kind=ZERO)


@pytest.mark.parametrize("more", [{"email": "x" * 400}, {"subject": "x" * 300}, {"name": "x" * 300}, {"name": ZERO}])
async def test_whom_a_provider_describes_at_length_is_refused_and_not_written_down(
    platform: Platform, more: dict[str, str]
) -> None:
    about: dict[str, Any] = {"provider": "lab", "subject": "1", "email": "a@example.org", "name": "A", **more}
    identity = SignedIn(role=Role.USER, tier=Tier.FREE, **about)
    if not platform.parts.settings.on_postgresql:
        await platform.parts.sessions.sign_in(identity, browser="", address="")
        return
    with pytest.raises(Unstorable, match="too long"):
        await platform.parts.sessions.sign_in(identity, browser="", address="")
    async with platform.parts.database.reading() as work:
        assert await work.users.by_subject("lab", identity.subject.replace("\0", "")) is None
