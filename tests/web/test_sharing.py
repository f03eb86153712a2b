"""Sharing on the pages: guests in an environment's settings, and on Home what others share."""

from __future__ import annotations

from typing import Any

import pytest

from cmbcluster.web.components.sharing import SharingState
from cmbcluster.web.guard import actor_of
from cmbcluster.web.live import base_facts
from cmbcluster.web.pages.environment import DetailPage, DetailState
from cmbcluster.web.pages.home import HomePage, HomeState
from cmbcluster.web.shell import Shell
from tests.web.stage import Platform, key
from tests.web.test_handlers import HOSTILE

PLANCK = str(key("planck-lowl-anomalies"))


async def shown(root: Any, raw_id: str = PLANCK) -> SharingState:
    """The settings of an environment's page as they are now."""
    state = await root.get_state(DetailState)
    actor = await actor_of(state)
    page = DetailPage(raw_id, "settings", 0)
    page.base = await base_facts(actor)
    await page.show(state, await page.gather(actor))
    sharing: SharingState = await root.get_state(SharingState)
    return sharing


async def test_guests_are_listed_added_and_withdrawn_with_one_click(tab: Any) -> None:
    root = tab("elena")
    sharing = await shown(root)
    assert [guest.name for guest in sharing.guests] == ["Ravi Nair"]
    await SharingState.event_handlers["share"].fn(sharing, {"person": "ada@example.org"})
    assert (await root.get_state(Shell)).toasts[-1]["text"] == "Ada Lovell can open it now."
    assert [guest.name for guest in (await shown(root)).guests] == ["Ravi Nair", "Ada Lovell"]
    assert sharing.tried == 1
    await SharingState.event_handlers["withdraw"].fn(sharing, str(key("ada")))
    assert [guest.name for guest in (await shown(root)).guests] == ["Ravi Nair"]


async def test_who_is_not_found_is_said_at_the_field_and_forgotten_elsewhere(tab: Any) -> None:
    root = tab("elena")
    sharing = await shown(root)
    await SharingState.event_handlers["share"].fn(sharing, {"person": "nobody@example.org"})
    assert "Nobody was found" in sharing.errors["person"]
    assert sharing.tried == 0
    assert (await shown(root)).errors
    assert not (await shown(root, str(key("s4-forecasts")))).errors


async def test_another_tab_of_somebody_else_shares_nothing(tab: Any, stage: Platform) -> None:
    root = tab("ada")
    sharing = await root.get_state(SharingState)
    sharing.environment = PLANCK
    await SharingState.event_handlers["share"].fn(sharing, {"person": "ada@example.org"})
    assert "not yours" in sharing.errors["person"]
    assert len(stage.accounts_by_token["elena"].guests) == 1


@pytest.mark.parametrize("value", HOSTILE)
async def test_hostile_arguments_do_nothing(tab: Any, stage: Platform, value: Any) -> None:
    sharing = await shown(tab("elena"))
    await SharingState.event_handlers["share"].fn(sharing, value)
    await SharingState.event_handlers["withdraw"].fn(sharing, value)
    assert len(stage.accounts_by_token["elena"].guests) == 1


async def test_home_shows_what_others_share_with_a_way_to_open_it_and_no_other(tab: Any) -> None:
    for person, names in (("elena", ["bao-reconstruction"]), ("ada", [])):
        root = tab(person)
        state = await root.get_state(HomeState)
        actor = await actor_of(state)
        page = HomePage()
        page.base = await base_facts(actor)
        await page.show(state, await page.gather(actor))
        assert [row.name for row in state.shared] == names
        for row in state.shared:
            assert row.about == "JupyterLab · shared by Ravi Nair"
            assert row.open_href == f"/open/{key('bao')}"
            assert row.name not in {mine.name for mine in state.rows}
