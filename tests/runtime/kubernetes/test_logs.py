"""Offsets of a pod's log are moments: every line has one of its own, and reading goes on after it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiohttp import web

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import logs
from cmbcluster.runtime.port import Ending, LogLine
from tests.runtime.kubernetes.api import Answer, refuses, says, served

TEXT = """2026-01-01T00:00:00.100000001Z one
2026-01-01T00:00:00.100000002Z two
2026-01-01T00:00:01.5Z three with words
"""


def text(body: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    return answer


async def read(*answers: Answer, offset: int = 0, follow: bool = False) -> tuple[list[LogLine], list[dict[str, str]]]:
    async with served(*answers) as (cluster, script):
        found = [line async for line in logs.read(cluster, "/pods/a", "u1", offset, follow=follow)]
        return found, [query for _, _, query, _ in script.asked]


async def test_lines_have_moments_and_offsets_that_rise() -> None:
    lines, asked = await read(text(TEXT))
    assert [line.text for line in lines] == ["one", "two", "three with words"]
    offsets = [line.offset for line in lines]
    assert offsets == sorted(set(offsets))
    # A browser counts exactly up to here.
    assert offsets[-1] < 2**53
    assert asked == [{"container": "program", "timestamps": "true"}]


async def test_reading_goes_on_after_an_offset() -> None:
    whole, _ = await read(text(TEXT))
    rest, asked = await read(text(TEXT), offset=whole[0].offset)
    assert rest == whole[1:]
    assert asked[0]["sinceTime"] == "2026-01-01T00:00:00Z"
    assert (await read(text(TEXT), offset=whole[-1].offset))[0] == []


async def test_the_last_bytes_are_whole_lines() -> None:
    lines, asked = await read(text(TEXT), offset=-22)
    assert [line.text for line in lines] == ["two", "three with words"]
    assert "tailLines" in asked[0]
    assert (await read(text(TEXT), offset=-3))[0] == []


async def test_the_end_of_a_log_is_held_in_bounds_whatever_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_TAIL_BYTES", 1000)
    monkeypatch.setattr(logs, "MOST_TAIL_LINES", 50)
    said = "".join(f"2026-01-01T00:00:00.{n:06}Z {n:09}\n" for n in range(1, 5000))
    lines, asked = await read(text(said), offset=-(2**53))
    assert [line.text for line in lines] == [f"{n:09}" for n in range(4900, 5000)]
    assert asked == [
        {"container": "program", "timestamps": "true", "tailLines": "50", "limitBytes": str(logs.MOST_READ_BYTES)}
    ]


async def test_following_ends_with_the_pod() -> None:
    over = says({"metadata": {"uid": "u1"}, "status": {"phase": "Failed"}})
    lines, asked = await read(text(TEXT), over, follow=True)
    assert len(lines) == 3
    assert asked[0]["follow"] == "true"
    assert (await read(refuses(400), refuses(404), follow=True))[0] == []


async def test_what_is_meant_for_a_terminal_is_left_out() -> None:
    said = "2026-01-01T00:00:00.1Z \x1b[31mred\x1b[0m\x00 and plain\tas ever\n"
    lines, _ = await read(text(said))
    assert [line.text for line in lines] == ["red and plain\tas ever"]
    async with served(text("\x1b[1mone\x00\ntwo\n")) as (cluster, _):
        # A database that keeps no zero byte must be able to keep how a run ended.
        assert await logs.tail(cluster, "/pods/a") == "one\ntwo\n"


def test_what_is_remembered_is_told_once_and_not_to_whoever_read_on() -> None:
    ending = Ending(StopReason.ASKED, "It was stopped.", "", "one\ntwo", None, datetime(2026, 1, 1, tzinfo=UTC))
    for offset in (0, -10):
        assert [line.text for line in logs.of_ending(ending, offset)] == ["one", "two"]
    first, last = (line.offset for line in logs.of_ending(ending, 0))
    assert first < last
    for offset in (1, first, last):
        assert list(logs.of_ending(ending, offset)) == []
    assert list(logs.of_ending(None, 0)) == []
