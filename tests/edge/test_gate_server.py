"""The gate's own small server: framing, order, and what the edge may send it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from cmbcluster.edge.gate_server import GateServer

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _echo(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers with what it was asked; ``/slow`` takes its time, ``/query`` tells the query."""
    if scope["path"] == "/slow":
        await asyncio.sleep(0.05)
    body = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} {dict(scope['headers'])}".encode()
    headers = [(b"x-answer", b"yes"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[GateServer]:
    """A server whose application tells what it saw."""
    running = GateServer(_echo, tmp_path / "gate.sock")
    await running.start()
    yield running
    await running.stop()
    assert not (tmp_path / "gate.sock").exists()


@pytest.fixture
async def pipe(server: GateServer, tmp_path: Path) -> AsyncIterator[Pipe]:
    """A connection to it."""
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "gate.sock"))
    yield reader, writer
    writer.close()


async def _answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> tuple[str, str]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
    return head, "" if head_only else (await reader.readexactly(length)).decode()


async def test_requests_sent_together_are_answered_in_their_order(pipe: Pipe) -> None:
    reader, writer = pipe
    writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /quick?x=1 HTTP/1.1\r\nHost: b\r\n\r\n")
    assert (await _answer(reader))[1].startswith("GET /slow ")
    head, body = await _answer(reader)
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert body.startswith("GET /quick x=1 ")
    assert "b'host': b'b'" in body


async def test_a_request_in_pieces_and_one_with_a_body(pipe: Pipe) -> None:
    reader, writer = pipe
    for piece in (b"POST /pie", b"ces HTTP/1.1\r\nHo", b"st: a\r\nContent-Length: 4\r\n\r\nab", b"cd"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    assert (await _answer(reader))[1].startswith("POST /pieces ")
    writer.write(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await _answer(reader))[1].startswith("GET /after ")


async def test_head_has_no_body_and_the_connection_stays(pipe: Pipe) -> None:
    reader, writer = pipe
    writer.write(b"HEAD /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n")
    await _answer(reader, head_only=True)
    assert (await _answer(reader))[1].startswith("GET /two ")


@pytest.mark.parametrize("extra", ["Connection: close\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n"])
async def test_it_answers_and_hangs_up_when_asked_to_or_to_speak_otherwise(pipe: Pipe, extra: str) -> None:
    reader, writer = pipe
    writer.write(f"GET /last HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())
    head, body = await _answer(reader)
    assert "connection: close" in head
    assert body.startswith("GET /last ")
    assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_nonsense_is_refused(pipe: Pipe) -> None:
    reader, writer = pipe
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 ")


async def test_stopping_waits_for_an_answer_under_way(server: GateServer, pipe: Pipe) -> None:
    reader, writer = pipe
    writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.02)
    await server.stop()
    assert (await _answer(reader))[1].startswith("GET /slow ")
