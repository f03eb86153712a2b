"""A watch that breaks, lies, grows too old or falls silent: nothing that changed goes unnoticed (F5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cmbcluster.runtime.kubernetes.client import Cluster
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.watching import Rhythm, Watcher
from tests.runtime.kubernetes.api import Answer, Script, listed, pod, refuses, says, served, tells

QUICK = Rhythm(server_seconds=5, silence_seconds=0.2, first_pause_seconds=0.01, longest_pause_seconds=0.05)
ENDLESS = tells(silent_for_seconds=30)
TOO_LARGE = "Too large resource version: 500, current: 3"
AHEAD = {"type": "ERROR", "object": {"kind": "Status", "code": 504, "reason": "Timeout", "message": TOO_LARGE}}
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}


class Seen:
    """What a watcher told, as words."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, item: Json, is_gone: bool) -> None:
        self.words.append(("-" if is_gone else "+") + item["metadata"]["name"])


@asynccontextmanager
async def watched(*answers: Answer, rhythm: Rhythm = QUICK) -> AsyncIterator[tuple[Seen, Script, Watcher]]:
    async with served(*answers) as (cluster, script):
        seen = Seen()
        watcher = Watcher(cluster, "/pods", {"labelSelector": "a=b"}, seen, rhythm=rhythm)
        task = asyncio.create_task(watcher.run())
        try:
            yield seen, script, watcher
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(seen: Seen, *words: str) -> None:
    async with asyncio.timeout(5):
        while seen.words != list(words):
            await asyncio.sleep(0.01)


def event(kind: str, name: str, version: str) -> dict[str, object]:
    return {"type": kind, "object": pod(name, version)}


async def test_a_list_in_pages_and_then_changes() -> None:
    pages = says(listed("5", pod("a", "1"), following="more")), says(listed("5", pod("b", "2")))
    changes = tells(event("ADDED", "c", "6"), event("MODIFIED", "a", "7"), event("DELETED", "b", "8"))
    async with watched(*pages, changes, ENDLESS) as (seen, script, watcher):
        await until(seen, "+a", "+b", "+c", "+a", "-b")
        assert set(watcher.known) == {"a", "c"}
        assert watcher.listed.is_set()
    first, second, third = (query for _, _, query, _ in script.asked[:3])
    assert first["labelSelector"] == second["labelSelector"] == third["labelSelector"] == "a=b"
    assert second["continue"] == "more"
    assert (third["resourceVersion"], third["allowWatchBookmarks"], third["timeoutSeconds"]) == ("5", "true", "5")


async def test_after_a_break_it_goes_on_where_it_was_and_after_a_bookmark_from_there() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "90"}}}
    broken = tells(event("ADDED", "b", "6"), breaks=True)
    async with watched(says(listed("5", pod("a", "1"))), broken, tells(bookmark), ENDLESS) as (seen, script, _):
        await until(seen, "+a", "+b")
        async with asyncio.timeout(5):
            while len(script.asked) < 4:
                await asyncio.sleep(0.01)
        assert [query.get("resourceVersion") for _, _, query, _ in script.asked[:4]] == [None, "5", "6", "90"]


async def test_gone_as_a_status_leads_to_a_new_list_and_its_difference() -> None:
    again = says(listed("50", pod("b", "2"), pod("c", "40")))
    before = says(listed("5", pod("a", "1"), pod("b", "2")))
    async with watched(before, refuses(410, "Expired"), again, ENDLESS) as (seen, _, watcher):
        await until(seen, "+a", "+b", "-a", "+c")
        assert set(watcher.known) == {"b", "c"}


async def test_gone_within_a_stream_that_began_well_does_too() -> None:
    again = says(listed("50", pod("a", "1", uid="another")))
    async with watched(says(listed("5", pod("a", "1"))), tells(GONE), again, ENDLESS) as (seen, _, _w):
        # The same name with another uid is another object: the old one is gone.
        await until(seen, "+a", "-a", "+a")


async def test_silence_ends_a_stream_and_what_happened_meanwhile_is_told() -> None:
    stalled = tells(silent_for_seconds=30)
    async with watched(says(listed("5", pod("a", "1"))), stalled, tells(event("DELETED", "a", "6")), ENDLESS) as (
        seen, script, _,
    ):  # fmt: skip
        await until(seen, "+a", "-a")
        assert script.asked[2][2]["resourceVersion"] == "5"


@pytest.mark.parametrize("answer", [refuses(504, "Timeout", TOO_LARGE), tells(AHEAD)])
async def test_a_version_that_the_server_has_not_come_to_leads_to_a_new_list(answer: Answer) -> None:
    again = says(listed("3", pod("b", "2")))
    async with watched(says(listed("500", pod("a", "400"))), answer, again, ENDLESS) as (seen, _, _w):
        await until(seen, "+a", "-a", "+b")


async def test_a_watch_that_says_nothing_for_its_whole_time_is_not_believed() -> None:
    brief = Rhythm(server_seconds=1, silence_seconds=5, first_pause_seconds=0.01, longest_pause_seconds=0.05)
    silent, again = tells(silent_for_seconds=1), says(listed("3", pod("b", "2")))
    async with watched(says(listed("500", pod("a", "400"))), silent, again, ENDLESS, rhythm=brief) as (seen, _, _w):
        await until(seen, "+a", "-a", "+b")


async def test_it_never_gives_up_and_waits_as_long_as_it_is_told() -> None:
    failing = [refuses(500)] * 9 + [refuses(429, **{"Retry-After": "0.05"})] * 4
    async with watched(*failing, says(listed("5", pod("a", "1"))), ENDLESS) as (seen, _, _w):
        async with asyncio.timeout(20):
            while seen.words != ["+a"]:
                await asyncio.sleep(0.05)


async def test_a_server_that_is_always_too_old_is_not_asked_without_a_pause() -> None:
    class Alternating(list[Answer]):
        pass

    answers = [each for _ in range(400) for each in (says(listed("5")), refuses(410, "Expired"))]
    slow = Rhythm(5, 1, first_pause_seconds=0.05, longest_pause_seconds=0.2)
    async with watched(*answers, rhythm=slow) as (_, script, _w):
        await asyncio.sleep(1.5)
        assert len(script.asked) < 40


async def test_requests_are_tried_again_when_that_can_help() -> None:
    async with served(refuses(503), refuses(429, **{"Retry-After": "0.01"}), says({"metadata": {}})) as (
        cluster,
        script,
    ):
        assert await cluster.get("/thing") == {"metadata": {}}
        assert len(script.asked) == 3
    assert isinstance(cluster, Cluster)


async def test_what_was_heard_counts_as_long_as_it_follows() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "90"}}}
    answers = says(listed("5", pod("a", "1"))), tells(bookmark, silent_for_seconds=30)
    async with watched(*answers, rhythm=Rhythm(5, 0.5, 30, 30)) as (_, script, watcher):
        assert watcher.heard_at is None
        async with asyncio.timeout(5):
            while (heard_at := watcher.heard_at) is None or len(script.asked) < 2:
                await asyncio.sleep(0.01)
        # Half a second of silence is taken for a broken connection, and nothing is followed any more.
        async with asyncio.timeout(5):
            while watcher.heard_at is not None:
                assert watcher.heard_at >= heard_at
                await asyncio.sleep(0.01)


async def test_one_object_that_nobody_can_read_keeps_no_other_from_being_told() -> None:
    class Picky(Seen):
        def __call__(self, item: Json, is_gone: bool) -> None:
            if item["metadata"]["name"] == "odd":
                raise KeyError("containers")
            super().__call__(item, is_gone)

    changes = tells(event("ADDED", "odd", "6"), event("ADDED", "b", "7"), silent_for_seconds=30)
    async with served(says(listed("5", pod("odd", "1"), pod("a", "2"))), changes) as (cluster, script):
        seen = Picky()
        task = asyncio.create_task(Watcher(cluster, "/pods", {}, seen, rhythm=QUICK).run())
        try:
            await until(seen, "+a", "+b")
            assert not task.done()
            assert len(script.asked) == 2
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_a_list_that_nobody_can_read_is_asked_for_again() -> None:
    async with watched(says({"items": [{}]}), says(listed("5", pod("a", "1"))), ENDLESS) as (seen, _, _w):
        await until(seen, "+a")
