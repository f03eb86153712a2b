"""The smallest application there is, so that what is measured in front of it is the proxy.

Run as a program of its own: ``python -m tests.bench.tiny_application PORT``.
"""

from __future__ import annotations

import asyncio
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
END = b"\r\n\r\n"


class Tiny(asyncio.Protocol):
    """Answers each request head; requests have no bodies here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        """Answer as many heads as are complete."""
        data = self.waiting + data
        complete = data.count(END)
        self.waiting = data[data.rfind(END) + len(END) :] if complete else data
        self.transport.write(ANSWER * complete)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    """Answer until ended."""
    server = await asyncio.get_running_loop().create_server(Tiny, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
