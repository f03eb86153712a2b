"""A client of the event socket that keeps to the protocol and to nothing else.

``python-socketio`` speaks it, not a browser: it sends what it likes, to handlers that no
page offers, and keeps every frame that comes back.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import socketio  # type: ignore[import-untyped]
from socketio.exceptions import ConnectionError as Refused  # type: ignore[import-untyped]

from cmbcluster.domain.gate import SESSION_COOKIE

NAMESPACE = "/_event"
HYDRATE = "reflex___state____state.hydrate_and_load"
QUIET_SECONDS = 0.12
LONGEST_SECONDS = 5.0

__all__ = ["HYDRATE", "Hostile", "Refused", "cookie_of", "hostile"]


def cookie_of(url: str, person: str) -> str:
    """The session cookie's value of a test person, as the sign-in page gets it."""
    answer = httpx.post(f"{url}/auth/development", data={"person": person}, headers={"Origin": url})
    assert answer.status_code == 303, answer.text
    return answer.cookies[SESSION_COOKIE]


class Hostile:
    """One connection. ``frames`` is everything that the server said, as text."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.frames: list[str] = []
        self.updates: list[dict[str, Any]] = []
        self._last = time.monotonic()
        self._client = socketio.Client(reconnection=False)
        self._client.on("*", self._keep, namespace=NAMESPACE)

    def open(self, cookie: str = "", **more: Any) -> None:
        """Connect. ``more``: ``headers``, ``host``, ``origin`` (None: none at all), ``transport``, ``auth``."""
        origin = more.get("origin", self.url)
        headers = {"Cookie": f"{SESSION_COOKIE}={cookie}"} if cookie else {}
        headers |= more.get("headers", {})
        transport = more.get("transport", "websocket")
        if transport != "websocket" and origin is not None:
            headers["Origin"] = origin
        self._client.eio.websocket_extra_options = {"suppress_origin": True} if origin is None else {"origin": origin}
        if host := more.get("host"):
            self._client.eio.websocket_extra_options["host"] = host
        self._client.connect(
            f"{self.url}/?token={self.token}",
            headers=headers,
            transports=[transport],
            namespaces=[NAMESPACE],
            socketio_path=NAMESPACE,
            auth=more.get("auth"),
            wait_timeout=5,
        )

    def send(self, name: str, payload: Any = None, path: str = "/", **more: Any) -> None:
        """An event. ``more`` stands beside what an event has, or in its place."""
        router = {"pathname": path.partition("?")[0], "asPath": path}
        self.emit("event", {"name": name, "payload": {} if payload is None else payload, "router_data": router} | more)

    def emit(self, kind: str, data: Any) -> None:
        """Whatever the protocol can carry."""
        self._last = time.monotonic()
        self._client.emit(kind, data, namespace=NAMESPACE)

    def listen(self, quiet_seconds: float = QUIET_SECONDS, longest_seconds: float = LONGEST_SECONDS) -> str:
        """Wait until the server has said nothing for a while; everything it said so far."""
        until = time.monotonic() + longest_seconds
        while time.monotonic() < until and time.monotonic() - self._last < quiet_seconds:
            time.sleep(0.01)
        return "\n".join(self.frames)

    def until(self, text: str, seconds: float = LONGEST_SECONDS) -> str:
        """Wait until the server has said this; everything it said so far."""
        end = time.monotonic() + seconds
        while text not in (said := "\n".join(self.frames)):
            assert time.monotonic() < end, f"it never said {text!r}: {said[-2000:]}"
            time.sleep(0.01)
        return said

    def forget(self) -> None:
        """What was said so far does not count any more."""
        self.frames.clear()
        self.updates.clear()

    @property
    def connected(self) -> bool:
        """Whether the server keeps the connection."""
        return bool(self._client.connected)

    def close(self) -> None:
        """Leave."""
        connection = self._client.eio.ws
        self._client.disconnect()
        if connection is not None:
            # A busy machine is slow to close what was left; nothing may stay open behind a test.
            connection.shutdown()

    def _keep(self, event: str, *data: Any) -> None:
        self._last = time.monotonic()
        self.frames.append(json.dumps([event, *data], ensure_ascii=False))
        self.updates += [each for each in data if isinstance(each, dict)]


@contextmanager
def hostile(url: str, cookie: str = "", *, token: str = "", **more: Any) -> Iterator[Hostile]:
    """A connection of its own; raises Refused when the platform does not take it."""
    client = Hostile(url, token or uuid.uuid4().hex)
    try:
        client.open(cookie, **more)
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close()
