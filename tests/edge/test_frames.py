"""What counts as a word over an open WebSocket: messages, and neither heartbeats nor control frames."""

from __future__ import annotations

import os
import random
import zlib

import pytest
from websockets.frames import Frame, Opcode

from cmbcluster.edge.frames import ClientFrames


def frame(opcode: int, payload: bytes, *, rsv1: bool = False) -> bytes:
    """The bytes of a browser's frame, by another's hand than ours."""
    made = bytearray(Frame(Opcode(opcode), payload).serialize(mask=True))
    made[0] |= 0x40 if rsv1 else 0
    return bytes(made)


def compressed(payload: bytes) -> bytes:
    """As permessage-deflate does it."""
    squeeze = zlib.compressobj(wbits=-15)
    return (squeeze.compress(payload) + squeeze.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def spoken(*pieces: bytes) -> bool:
    frames = ClientFrames()
    for piece in pieces:
        frames.feed(piece)
    return frames.spoken


@pytest.mark.parametrize("length", [2, 125, 126, 65535, 65536, 200_000])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY, Opcode.CONT])
def test_a_message_is_a_word(opcode: int, length: int) -> None:
    assert spoken(frame(opcode, os.urandom(length)))


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
@pytest.mark.parametrize("length", [2, 125])
def test_control_frames_are_none(opcode: int, length: int) -> None:
    assert not spoken(frame(opcode, b"\x03\xe8" + bytes(length - 2)))


def test_heartbeats_of_a_page_are_none() -> None:
    assert not spoken(frame(Opcode.TEXT, b"3"), frame(Opcode.TEXT, b""), frame(Opcode.BINARY, b"2"))
    assert not spoken(frame(Opcode.TEXT, compressed(b"3"), rsv1=True))
    assert not spoken(frame(Opcode.TEXT, compressed(b"2"), rsv1=True))
    assert spoken(frame(Opcode.TEXT, compressed(b"ls"), rsv1=True))


def test_the_content_is_not_taken_for_frames() -> None:
    inside = frame(Opcode.TEXT, b"hello there")
    assert not spoken(frame(Opcode.PONG, inside), frame(Opcode.PONG, inside * 3))


def test_any_cut_gives_the_same() -> None:
    draw = random.Random(4)  # noqa: S311 - the same cuts each time
    quiet = [frame(Opcode.PONG, os.urandom(draw.randrange(126))) for _ in range(40)] + [frame(Opcode.TEXT, b"3")] * 20
    draw.shuffle(quiet)
    for words in (b"", frame(Opcode.TEXT, b"x" * 70_000)):
        whole = b"".join(quiet[:30]) + words + b"".join(quiet[30:])
        for _ in range(30):
            cuts = sorted(draw.randrange(len(whole)) for _ in range(draw.randrange(40)))
            pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
            assert spoken(*pieces) is bool(words)
        assert spoken(*[whole[at : at + 1] for at in range(len(whole))]) is bool(words)


def test_it_can_be_set_back_in_the_middle_of_a_message() -> None:
    frames = ClientFrames()
    message = frame(Opcode.BINARY, os.urandom(1000))
    frames.feed(message[:500])
    assert frames.spoken
    frames.spoken = False
    frames.feed(message[500:])
    assert not frames.spoken
    frames.feed(message)
    assert frames.spoken


def test_no_bytes_make_it_fail_or_keep_them() -> None:
    draw = random.Random(49)  # noqa: S311
    for _ in range(300):
        frames = ClientFrames()
        for _ in range(20):
            frames.feed(draw.randbytes(draw.randrange(400)))
            assert len(frames._head) < 14
