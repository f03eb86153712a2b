"""What an application answers to a handshake, read strictly and said again in our own words.

The edge reads lines more kindly than we do, so bytes of an application that were passed on
as they are could end its answer early and begin the answer to somebody else's request.
This module must never let a byte through that it has not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from cmbcluster.edge.cookies import kept_set_cookie

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [\x20-\x7e]*)?")
# No control character at all, so neither a lone CR nor a lone LF, and no folded line.
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
# The first belong to one connection and are said by us; the last would empty the storage of
# the host, and with it our cookie.
_NOT_PASSED_ON = frozenset(
    {"connection", "upgrade", "keep-alive", "te", "trailer", "transfer-encoding", "content-length", "clear-site-data"}
)
SWITCHING = 101
BAD_GATEWAY = 502


class Unreadable(Exception):
    """The application's answer is not one that may be passed on."""


@dataclass(frozen=True)
class Reply:
    """The head of an application's answer."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def value(self, wanted: str) -> str:
        """The only value of a header, or nothing when there is none or there are several."""
        values = [value for name, value in self.headers if name.lower() == wanted]
        return values[0] if len(values) == 1 else ""


def read_reply(head: bytes) -> Reply:
    """The head of an answer, up to and with its empty line; Unreadable when any of it is not plain HTTP."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise Unreadable("status line")
    headers = []
    for line in lines:
        header = _HEADER_LINE.fullmatch(line)
        if header is None:
            raise Unreadable("header line")
        headers.append((header[1].decode("ascii"), header[2].decode("latin-1").strip(" \t")))
    return Reply(int(status[1]), tuple(headers))


def switch(reply: Reply, asked: str) -> bytes:
    """The head that tells the edge of the change to the protocol it ``asked`` for."""
    protocol = reply.value("upgrade")
    if reply.status != SWITCHING or not protocol or protocol.lower() != asked.lower():
        raise Unreadable("protocol")
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {protocol}"]
    for name, value in reply.headers:
        small = name.lower()
        kept = kept_set_cookie(value) if small == "set-cookie" else value
        if small not in _NOT_PASSED_ON and (kept or not value):
            lines.append(f"{name}: {kept}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def refusal(status: int) -> bytes:
    """A whole answer without content, after which the connection ends.

    A status that is not the last word of an answer would leave the edge waiting for another.
    """
    try:
        known = HTTPStatus(status)
    except ValueError:
        known = HTTPStatus.BAD_GATEWAY
    if known < HTTPStatus.OK:
        known = HTTPStatus.BAD_GATEWAY
    return f"HTTP/1.1 {known.value} {known.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
