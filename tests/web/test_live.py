"""The task behind an open page: woken by rings, replaced by the next page, ended with the session."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cmbcluster.bus.port import Ring
from cmbcluster.web import live
from cmbcluster.web.guard import actor_of
from cmbcluster.web.live import Page, follow
from cmbcluster.web.shell import Shell
from tests.web.stage import Platform, key


class Tab:
    """A state as a background handler sees it: entered before it is written."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self.router = root.router

    async def __aenter__(self) -> Tab:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def get_state(self, cls: Any) -> Any:
        return await self._root.get_state(cls)


class Counting(Page[Any, int]):
    """Counts how often it was asked and shown."""

    def __init__(self) -> None:
        self.looks = 0
        self.shown: list[int] = []

    async def gather(self, actor: Any) -> int:
        self.looks += 1
        return self.looks

    async def show(self, state: Any, facts: int) -> None:
        self.shown.append(facts)


@asynccontextmanager
async def followed(tab: Any, page: Page[Any, Any]) -> Any:
    task = asyncio.create_task(follow(Tab(tab), page))
    await asyncio.sleep(0.02)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within two seconds")


async def test_a_ring_is_on_screen_within_a_second(tab: Any, stage: Platform) -> None:
    page, root = Counting(), tab("elena")
    async with followed(root, page):
        await until(lambda: page.shown == [1])
        await stage.ring(await actor_of(root))
        await asyncio.wait_for(until(lambda: page.shown == [1, 2]), 1)


async def test_rings_that_come_together_are_one_look(tab: Any, stage: Platform) -> None:
    page, root = Counting(), tab("elena")
    async with followed(root, page):
        await until(lambda: page.looks == 1)
        for _ in range(50):
            await stage.ring(await actor_of(root))
        await until(lambda: page.looks >= 2)
        await asyncio.sleep(0.2)
        assert page.looks <= 3


async def test_without_rings_nothing_is_asked(tab: Any, stage: Platform) -> None:
    page = Counting()
    async with followed(tab("elena"), page):
        await asyncio.sleep(0.3)
        assert page.looks == 1


async def test_the_next_page_ends_the_last_one(tab: Any, stage: Platform) -> None:
    root = tab("elena")
    async with followed(root, Counting()) as first, followed(root, Counting()) as second:
        await asyncio.wait_for(first, 1)
        assert not second.done()


async def test_an_ended_session_leaves_for_the_front_page(tab: Any, stage: Platform) -> None:
    root = tab("elena")
    actor = await actor_of(root)
    async with followed(root, Counting()) as task:
        del stage.accounts_by_token["elena"]
        await stage.bus.publish(Ring(f"session:{actor.session_id}"))
        assert "redirect" in str(await asyncio.wait_for(task, 1))


async def test_a_closed_tab_ends_its_task(tab: Any, stage: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.03)
    monkeypatch.setattr(live, "_socket_of", lambda _token: None)
    async with followed(tab("elena"), Counting()) as task:
        assert await asyncio.wait_for(task, 1) is None


async def test_another_socket_with_the_tabs_token_is_shown_nothing(
    tab: Any, stage: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = {"now": "hers"}
    monkeypatch.setattr(live, "_socket_of", lambda _token: sockets["now"])
    page, root = Counting(), tab("elena")
    async with followed(root, page) as task:
        await until(lambda: page.shown == [1])
        sockets["now"] = "somebody else's"
        await stage.ring(await actor_of(root))
        await asyncio.wait_for(task, 2)
    assert page.shown == [1]


async def test_a_tab_that_is_away_is_shown_nothing_until_it_looks_anew(
    tab: Any, stage: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket may be in another replica by now, and not be its own."""
    sockets: dict[str, str | None] = {"now": "hers"}
    monkeypatch.setattr(live, "_socket_of", lambda _token: sockets["now"])
    page, root = Counting(), tab("elena")
    async with followed(root, page) as task:
        await until(lambda: page.shown == [1])
        sockets["now"] = None
        await stage.ring(await actor_of(root))
        await until(lambda: page.looks == 2)
        await asyncio.sleep(0.05)
        assert page.shown == [1]
        assert not task.done()


async def test_services_that_fail_leave_what_was_there(tab: Any, stage: Platform) -> None:
    from cmbcluster.errors import DatabaseUnavailable

    class Failing(Counting):
        async def gather(self, actor: Any) -> int:
            if self.looks:
                raise DatabaseUnavailable("password=hunter2")
            return await super().gather(actor)

    root, page = tab("elena"), Failing()
    async with followed(root, page):
        await until(lambda: page.shown == [1])
        await stage.ring(await actor_of(root))
        shell = await root.get_state(Shell)
        await until(lambda: shell.trouble != "")
        assert "hunter2" not in shell.trouble
        assert page.shown == [1]


async def test_what_one_person_asked_for_is_never_shown_to_another(tab: Any, stage: Platform) -> None:
    """A tab that changed hands between the question and the answer shows nothing."""
    root = tab("elena")

    class Slow(Counting):
        async def gather(self, actor: Any) -> int:
            root._update_router_vars({"headers": {"cookie": "cmb_session=ada"}}, {})
            state.router = root.router
            return await super().gather(actor)

    page, state = Slow(), Tab(root)
    task = asyncio.create_task(follow(state, page))
    await until(lambda: page.looks == 1)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert page.shown == []
    assert (await root.get_state(Shell)).me.name == ""
    assert key("ada") == stage.accounts_by_token["ada"].actor.user_id


async def test_a_session_that_cannot_be_asked_about_is_not_taken_for_ended(
    tab: Any, stage: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmbcluster.errors import DatabaseUnavailable

    monkeypatch.setattr(live, "AGAIN_SECONDS", 0.05)
    page, root = Counting(), tab("elena")
    async with followed(root, page) as task:
        await until(lambda: page.shown == [1])

        async def away(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("away")

        shell = await root.get_state(Shell)
        with monkeypatch.context() as patched:
            patched.setattr(live, "find_actor", away)
            await stage.ring(await actor_of(root))
            await until(lambda: shell.trouble != "")
            assert not task.done()
            # Nothing is read for somebody who may not be signed in any more.
            assert page.looks == 1
        # It is tried again without a ring, and then the page is true again.
        await until(lambda: shell.trouble == "")
        assert page.shown == [1, 2]
