"""A server of one answer on this machine: a registry that misbehaves, or one who judges what a cluster is asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOCAL = "127.0.0.1"
Judge = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def answering(
    address: str, status: int = 200, *, tls: tuple[Path, Path] | None = None, judge: Judge | None = None
) -> Iterator[str]:
    """Where it listens. ``tls`` is a certificate and its key; ``judge`` answers what is posted."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(b"{}")

        def do_HEAD(self) -> None:
            self._say(b"")

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._say(json.dumps(judge(json.loads(asked))).encode() if judge is not None else b"{}")

        def _say(self, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing that a test would read."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A handshake that is broken off is what is wanted."""

    server = Quiet((address, 0), Answer)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
