"""The way of open connections: WebSockets pass through here, so that they can be ended.

The edge asks the gate at the handshake only, and a WebSocket may stay open for hours. So
the gate sends each of them through this relay, which asks the same question again while
the connection is open, and closes it when the answer is no longer a pass. The relay must
never dial an address that the gate did not name, nor repeat a head that an application wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from cmbcluster.domain.gate import GateAnswer, Verdict
from cmbcluster.edge.frames import ClientFrames
from cmbcluster.edge.handshake import BAD_GATEWAY, SWITCHING, Unreadable, read_reply, refusal, switch
from cmbcluster.edge.places import Place, TcpPlace, let_go, listen

logger = structlog.get_logger(__name__)

TICKET_SECONDS = 15.0
DIAL_SECONDS = 3.0
# A notebook server answers only when the kernel does, for which it waits up to a minute.
REPLY_SECONDS = 75.0
HEAD_BYTES = 64 * 1024
CHUNK_BYTES = 64 * 1024
# A person who signs out, or whose environment stops, loses open connections within this time.
ASK_AGAIN_SECONDS = 20.0
# A gate that cannot answer for a moment is no reason to cut; one that cannot for longer is.
FAILURES_FORGIVEN = 1
ON_ITS_WAY_SECONDS = 0.5
_TICKET_HEADER = b"x-env-ticket:"
_UPGRADE_HEADER = b"upgrade:"


class Asking(Protocol):
    """The question that is asked again."""

    async def authorize(self, host: str, cookie: str, *, token: str = "", touch: bool = True) -> GateAnswer:
        """May a request to ``host`` with this Cookie header or personal token pass, and where to?

        ``touch``: the person did something since the last question.
        """


@dataclass(frozen=True)
class _Passage:
    host: str
    cookie: str = field(repr=False)
    token: str = field(repr=False)
    answer: GateAnswer


class Relay:
    """Listens on a place of ours for connections that the edge upgrades.

    ``reached_at`` is how the edge gets to this very relay, when that is not where it listens:
    tickets are known here alone, so of several replicas no other will do.
    """

    def __init__(
        self,
        access: Asking,
        place: Place,
        ask_again_seconds: float = ASK_AGAIN_SECONDS,
        reply_seconds: float = REPLY_SECONDS,
        reached_at: str = "",
    ) -> None:
        self._place = place
        self.upstream = reached_at or (str(place) if isinstance(place, TcpPlace) else f"unix/{place}")
        self._reply_seconds = reply_seconds
        self._access = access
        self._ask_again_seconds = ask_again_seconds
        self._tickets: dict[str, _Passage] = {}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, sock=listen(self._place), limit=HEAD_BYTES)

    async def drain(self, grace_seconds: float) -> None:
        """Wait until the connections that are open have ended by themselves, no longer than told.

        The relay still listens: a ticket that was given a moment ago may be on its way here.
        """
        if self._tickets:
            await asyncio.sleep(min(grace_seconds, ON_ITS_WAY_SECONDS))
        if self._open:
            await asyncio.wait(self._open, timeout=grace_seconds)

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        let_go(self._place)

    def ticket(self, host: str, cookie: str, token: str, answer: GateAnswer) -> str:
        """A word, good once and for seconds, that stands for this passage."""
        word = secrets.token_urlsafe(16)
        self._tickets[word] = _Passage(host, cookie, token, answer)
        asyncio.get_running_loop().call_later(TICKET_SECONDS, self._tickets.pop, word, None)
        return word

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass
        except asyncio.CancelledError:
            # Ours alone: the task belongs to the server, and nobody waits for its outcome.
            pass
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DIAL_SECONDS)
        lines = head.split(b"\r\n")
        words = [line for line in lines if line.lower().startswith(_TICKET_HEADER)]
        word = words[0].partition(b":")[2].strip().decode("latin-1") if len(words) == 1 else ""
        passage = self._tickets.pop(word, None)
        if passage is None:
            await _refuse(writer, 503)
            return
        to = passage.answer
        dialled = asyncio.open_connection(to.host, to.port, limit=HEAD_BYTES)
        try:
            far_reader, far_writer = await asyncio.wait_for(dialled, DIAL_SECONDS)
        except (OSError, TimeoutError):
            await _refuse(writer, BAD_GATEWAY)
            return
        try:
            far_writer.write(b"\r\n".join(line for line in lines if line not in words))
            if await self._shake_hands(passage, _protocol_asked(lines), far_reader, writer):
                await self._both_ways(passage, (reader, far_writer), (far_reader, writer))
        finally:
            far_writer.close()

    async def _shake_hands(
        self, passage: _Passage, asked: str, far_reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Tell the edge what the application answered; true when the connection is open now.

        Everything else is said in our own words and closed, so that the edge can never use
        this connection again, for another person's passage.
        """
        try:
            head = await asyncio.wait_for(far_reader.readuntil(b"\r\n\r\n"), self._reply_seconds)
            reply = read_reply(head)
            if reply.status != SWITCHING:
                await _refuse(writer, reply.status)
                return False
            writer.write(switch(reply, asked))
        except TimeoutError:
            await _refuse(writer, 504)
            return False
        except (Unreadable, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as wrong:
            logger.info("handshake not understood", host=passage.host, error=type(wrong).__name__)
            await _refuse(writer, BAD_GATEWAY)
            return False
        return True

    async def _both_ways(
        self,
        passage: _Passage,
        inward: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        outward: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Carry bytes until one side ends or the passage is no longer allowed."""
        frames = ClientFrames()
        tasks = {
            asyncio.create_task(_pump(*inward, frames)),
            asyncio.create_task(_pump(*outward)),
            asyncio.create_task(self._until_refused(passage, frames)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_refused(self, passage: _Passage, frames: ClientFrames) -> None:
        failures = 0
        while True:
            await asyncio.sleep(self._ask_again_seconds)
            # A token has no idle time that words could put off.
            spoken, frames.spoken = frames.spoken and not passage.token, False
            try:
                answer = await self._access.authorize(passage.host, passage.cookie, token=passage.token, touch=spoken)
            except Exception:
                logger.exception("gate could not ask again", host=passage.host)
                failures += 1
                if failures > FAILURES_FORGIVEN:
                    return
                continue
            failures = 0
            still = (passage.answer.host, passage.answer.port) == (answer.host, answer.port)
            if answer.verdict is not Verdict.PASS or not still:
                logger.info("open connection ended", host=passage.host, verdict=answer.verdict.value)
                return


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: ClientFrames | None = None) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            if frames is not None:
                frames.feed(data)
            writer.write(data)
            await writer.drain()


def _protocol_asked(lines: list[bytes]) -> str:
    values = [line.partition(b":")[2] for line in lines if line.lower().startswith(_UPGRADE_HEADER)]
    return values[0].strip().decode("latin-1") if len(values) == 1 else ""


async def _refuse(writer: asyncio.StreamWriter, status: int) -> None:
    writer.write(refusal(status))
    await writer.drain()
