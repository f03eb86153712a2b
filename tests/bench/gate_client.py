"""Asks the gate over its socket, one question after the other, and prints the seconds each took.

Run as a program of its own, so that it does not share the gate's interpreter:
``python -m tests.bench.gate_client SOCKET HOST COUNT PER_SECOND`` with the Cookie header on
standard input; PER_SECOND 0 asks as fast as answers come.
"""

from __future__ import annotations

import json
import socket
import sys
import time


def ask(path: str, host: str, cookie: str, count: int, per_second: float) -> list[float]:
    """Seconds of each answer; raises when one is not a pass."""
    question = f"GET /authorize HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nX-Forwarded-Uri: /\r\n\r\n".encode()
    seconds = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        first = time.perf_counter()
        for number in range(count):
            if per_second:
                time.sleep(max(0.0, first + number / per_second - time.perf_counter()))
            began = time.perf_counter()
            connection.sendall(question)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            seconds.append(time.perf_counter() - began)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the gate did not let us pass: {answer[:80]!r}")
    return seconds


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2], sys.stdin.read().strip(), int(sys.argv[3]), float(sys.argv[4]))))
