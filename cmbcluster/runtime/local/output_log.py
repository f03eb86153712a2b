"""The bounded log of one environment's output, as the supervisor writes it.

Two files together never pass the limit; their names carry the offset of their first byte,
so offsets count from the first byte ever written although old bytes go away.
"""

from __future__ import annotations

import os
import time

OUTPUT = "output."
LINE_LIMIT_BYTES = 8192


def now_text() -> str:
    """The present moment as it is written into logs and records."""
    # Not with ``datetime``: every launch would pay for its import.
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}+00:00"


class Log:
    """Lines with their time, in two files that together stay below a bound.

    Written into the working directory, which is the run's folder.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._half_bytes = max(limit_bytes // 2, LINE_LIMIT_BYTES * 2)
        self._files: list[str] = []
        self._written = 0
        self._start = 0
        self._partial = b""
        self._open()

    @property
    def partial(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._partial)

    def add(self, data: bytes) -> int:
        """Take output as it comes; complete lines are written. Returns what they weigh in the log, in bytes."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        weight = self._write(lines)
        if len(self._partial) >= LINE_LIMIT_BYTES:
            weight += self.flush()
        return weight

    def flush(self) -> int:
        """Write a line that has not ended."""
        rest, self._partial = self._partial, b""
        return self._write([rest]) if rest else 0

    def _write(self, lines: list[bytes]) -> int:
        """Write lines with as few calls as the bound of a file allows."""
        stamp = now_text().encode() + b" "
        waiting: list[bytes] = []
        size = weight = 0
        for line in lines:
            # A progress bar rewrites its line; what was visible last is what is kept.
            shown = line.rstrip(b"\r").rsplit(b"\r", 1)[-1]
            for begin in range(0, max(len(shown), 1), LINE_LIMIT_BYTES):
                entry = stamp + shown[begin : begin + LINE_LIMIT_BYTES] + b"\n"
                if self._written + size + len(entry) > self._half_bytes:
                    self._put(waiting)
                    waiting, size = [], 0
                    self._start += self._written
                    os.close(self._fd)
                    self._open()
                waiting.append(entry)
                size += len(entry)
                weight += len(entry)
        self._put(waiting)
        return weight

    def _put(self, entries: list[bytes]) -> None:
        """Write whole lines; what a full disk cuts short counts as far as it went."""
        data = b"".join(entries)
        if not data:
            return
        try:
            self._written += os.write(self._fd, data)
        except OSError:
            # A full disk must not end the application; the lines are lost.
            return

    def _open(self) -> None:
        name = f"{OUTPUT}{self._start:015d}"
        self._fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._written = 0
        self._files.append(name)
        while len(self._files) > 2:
            os.unlink(self._files.pop(0))
