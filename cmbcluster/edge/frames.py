"""Sees whether a person says something over an open WebSocket.

Looks at the heads of the frames that the browser sends and at nothing else: their content is
the application's and is neither read nor kept. It must never change, hold up or refuse a byte,
whatever the bytes are.
"""

from __future__ import annotations

_MASKED = 0x80
_COMPRESSED = 0x40
_MASK_BYTES = 4
_SHORTEST_HEAD = 2
# Continuation, text, binary. All others are control frames, such as the answer to a ping.
_DATA = frozenset({0x0, 0x1, 0x2})
# Heartbeats that a page's own program answers are data frames too. Those of engine.io, which
# many applications have inside, are one byte; compressed, one byte becomes three.
_HEARTBEAT_BYTES = 1
_COMPRESSED_HEARTBEAT_BYTES = 3


class ClientFrames:
    """The frames of one connection, from the browser on, cut into pieces anyhow.

    ``spoken`` turns true with each message that is more than a heartbeat; whoever reads it
    sets it back.
    """

    def __init__(self) -> None:
        self.spoken = False
        self._head = bytearray()
        self._left = 0  # bytes of the present frame that are still to come

    def feed(self, data: bytes) -> None:
        """The next bytes of the connection."""
        at = 0
        while at < len(data):
            if self._left:
                passed = min(self._left, len(data) - at)
                self._left -= passed
                at += passed
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) >= _SHORTEST_HEAD and len(self._head) == _head_bytes(self._head[1]):
                self._read_head()

    def _read_head(self) -> None:
        head = self._head
        mask_bytes = _MASK_BYTES if head[1] & _MASKED else 0
        extended = head[_SHORTEST_HEAD : len(head) - mask_bytes]
        payload = int.from_bytes(extended) if extended else head[1] & 0x7F
        heartbeat = _COMPRESSED_HEARTBEAT_BYTES if head[0] & _COMPRESSED else _HEARTBEAT_BYTES
        if head[0] & 0x0F in _DATA and payload > heartbeat:
            self.spoken = True
        self._left = payload
        head.clear()


def _head_bytes(second: int) -> int:
    """How long a frame's head is, by its second byte."""
    extended = {126: 2, 127: 8}.get(second & 0x7F, 0)
    return _SHORTEST_HEAD + extended + (_MASK_BYTES if second & _MASKED else 0)
