"""Reading the log of a run while it is written.

Offsets count from the first byte ever written, so a reader that comes back after old
bytes went away continues with the oldest there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from cmbcluster.runtime.local.run_folder import RunFolder, split_stamp
from cmbcluster.runtime.port import LogLine

CHUNK_BYTES = 256 * 1024
PAUSE_SECONDS = 0.2


async def read_log(
    folder: RunFolder, offset: int, *, follow: bool, has_ended: Callable[[], bool]
) -> AsyncIterator[LogLine]:
    """Lines from ``offset`` (negative: that many last bytes), and with ``follow`` until the run has ended."""
    position, whole = await asyncio.to_thread(_begin, folder, offset)
    rest = b""
    while True:
        ended = has_ended()
        data, start = await asyncio.to_thread(_read, folder, position)
        if start != position:
            # Old bytes went away while nobody read; the line under way is lost with them.
            rest, position, whole = b"", start, True
        position += len(data)
        lines = (rest + data).split(b"\n")
        at = position - len(data) - len(rest)
        rest = lines.pop()
        for raw in lines:
            at += len(raw) + 1
            if whole:
                time, text = split_stamp(raw.decode(errors="replace"))
                yield LogLine(at=time, text=text, offset=at)
            whole = True
        if data:
            continue
        if ended or not follow:
            return
        await asyncio.sleep(PAUSE_SECONDS)


def _begin(folder: RunFolder, offset: int) -> tuple[int, bool]:
    """(where to read from, whether a line begins there)."""
    outputs = folder.outputs()
    if not outputs:
        return 0, True
    oldest = outputs[0][0]
    end = outputs[-1][0] + outputs[-1][1].stat().st_size
    wanted = end + offset if offset < 0 else min(offset, end)
    if wanted <= oldest:
        return oldest, True
    before, _ = _read(folder, wanted - 1, 1)
    return wanted, before == b"\n"


def _read(folder: RunFolder, position: int, most: int = CHUNK_BYTES) -> tuple[bytes, int]:
    """(bytes, where they begin): from ``position`` or, when that is gone, from the oldest byte kept."""
    outputs = folder.outputs()
    if outputs and position < outputs[0][0]:
        position = outputs[0][0]
    for start, file in reversed(outputs):
        if position >= start:
            try:
                with open(file, "rb") as opened:
                    opened.seek(position - start)
                    return opened.read(most), position
            except FileNotFoundError:
                return _read(folder, position, most)
    return b"", position
