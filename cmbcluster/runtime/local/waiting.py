"""Waiting for an application to answer and for a process to end.

Readiness is the health path's own answer, never a sleep; an end is told by the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from cmbcluster.runtime.local.process_tree import is_alive

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.5
PAUSE_GROWTH = 1.06
# This many programs may be asked as often as one; of more, each is asked less often.
ASKED_FREELY = 4
ANSWER_SECONDS = 5.0
LOOK_SECONDS = 0.5


async def answers(host: str, port: int, path: str) -> bool:
    """Whether the health path answers now with anything but a server's error."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            writer.write(request.encode("ascii", errors="replace"))
            words = (await reader.readline()).split()
    except (OSError, TimeoutError, ValueError):
        return False
    finally:
        if writer is not None:
            writer.close()
    return len(words) >= 2 and words[0].startswith(b"HTTP/") and words[1].isdigit() and int(words[1]) < 500


_waiting = 0


async def until_it_answers(host: str, port: int, path: str) -> None:
    """Ask until there is an answer. The caller bounds the time.

    Asked often at first, since a person waits, and less and less, since a program that is
    slow to start needs the processor more than we do.
    """
    global _waiting
    pause = FIRST_PAUSE_SECONDS
    _waiting += 1
    try:
        while not await answers(host, port, path):
            await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, pause * max(1.0, _waiting / ASKED_FREELY)))
            pause *= PAUSE_GROWTH
    finally:
        _waiting -= 1


async def until_gone(pid: int, ticks: int | None) -> None:
    """Return when the process that started at ``ticks`` is gone (at once if it is), and reap it if it is ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        await _until_gone_by_looking(pid, ticks)
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    try:
        # Checked after the descriptor is held: from here on it cannot be another process.
        if is_alive(pid, ticks):
            loop.add_reader(descriptor, gone.set)
            await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    reap(pid)


async def _until_gone_by_looking(pid: int, ticks: int | None) -> None:
    """For systems whose kernel cannot tell."""
    while True:
        reap(pid)
        if not is_alive(pid, ticks):
            return
        await asyncio.sleep(LOOK_SECONDS)


async def until_closed(descriptor: int) -> None:
    """Return when the other end of a pipe is closed by everybody who held it."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    loop.add_reader(descriptor, closed.set)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def reap(pid: int) -> None:
    """Take note of a child's end, so that no zombie stays; others' children are their business."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
