"""Settings, Tokens: the list in words, revoking with a question, and never a token in the state."""

from __future__ import annotations

from typing import Any

import pytest

from cmbcluster.web.components.tokens import TokensState
from cmbcluster.web.guard import actor_of
from cmbcluster.web.live import base_facts
from cmbcluster.web.pages.settings import SettingsPage, SettingsState
from cmbcluster.web.shell import Shell
from cmbcluster.wiring import parts
from tests.web.stage import Platform, key
from tests.web.test_handlers import HOSTILE


async def shown(root: Any) -> TokensState:
    """The tab's settings as they are now."""
    state = await root.get_state(SettingsState)
    actor = await actor_of(state)
    page = SettingsPage()
    page.base = await base_facts(actor)
    await page.show(state, await page.gather(actor))
    tokens: TokensState = await root.get_state(TokensState)
    return tokens


async def test_tokens_are_listed_in_words(tab: Any) -> None:
    tokens = await shown(tab("elena"))
    nightly, laptop, workshop = tokens.rows
    assert (nightly.name, nightly.prefix, nightly.scopes) == ("Nightly run", "cmb_4Kd81mZq…", "read, launch")
    assert laptop.used_at == laptop.ends_at == 0
    assert [row.expired for row in tokens.rows] == [False, False, True]
    assert (await shown(tab("ada"))).rows == []
    assert workshop.name == "Workshop"


async def test_only_admins_are_offered_what_admins_may(tab: Any) -> None:
    assert [choice.value for choice in (await shown(tab("elena"))).choices] == ["read", "launch"]
    assert [choice.value for choice in (await shown(tab("ravi"))).choices] == ["read", "launch", "admin"]


async def test_revoking_asks_first(tab: Any, stage: Platform) -> None:
    root = tab("elena")
    tokens = await shown(root)
    await TokensState.event_handlers["ask_revoke"].fn(tokens, str(key("t1")))
    assert tokens.revoking_name == "Nightly run"
    assert len(stage.accounts_by_token["elena"].tokens) == 3
    await TokensState.event_handlers["close_revoke"].fn(tokens, False)
    await TokensState.event_handlers["revoke"].fn(tokens)
    assert len(stage.accounts_by_token["elena"].tokens) == 3
    await TokensState.event_handlers["ask_revoke"].fn(tokens, str(key("t1")))
    await TokensState.event_handlers["revoke"].fn(tokens)
    assert [view.name for view in stage.accounts_by_token["elena"].tokens] == ["Laptop", "Workshop"]
    assert (await root.get_state(Shell)).toasts[-1]["text"] == "Nightly run is revoked."


async def test_nobody_is_asked_about_anothers(tab: Any) -> None:
    tokens = await shown(tab("ada"))
    await TokensState.event_handlers["ask_revoke"].fn(tokens, str(key("t1")))
    assert tokens.revoking_id == ""


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: repr(v)[:20])
async def test_hostile_arguments_never_raise(tab: Any, value: Any) -> None:
    tokens = await shown(tab("elena"))
    for handler in ("ask_revoke", "revoke", "close_revoke"):
        await TokensState.event_handlers[handler].fn(tokens, value)
    assert len(tokens.rows) == 3


async def test_a_new_token_never_comes_into_the_state(tab: Any) -> None:
    root = tab("elena")
    state = await root.get_state(SettingsState)
    made = await parts().api_tokens.make(await actor_of(state), "Jupyter", ["read"], 90)
    tokens = await shown(root)
    assert tokens.rows[0].name == "Jupyter"
    assert made.secret not in str(root.dict())
