"""Logs: one line an event, no secret in any of them, nothing that forges a line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from cmbcluster import logs

CANARY = "canary-7f3a9c"


@dataclass
class Choices:
    """What the settings would say."""

    log_format: str = "json"
    log_level: str = "INFO"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What was logged, as JSON lines."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(Choices(), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "values",
    [
        {"cookie": CANARY},
        {"Set-Cookie": f"a={CANARY}"},
        {"authorization": f"Bearer {CANARY}"},
        {"code": CANARY},
        {"session_token": CANARY},
        {"db_password": CANARY},
        {"headers": {"cookie": f"cmb_session={CANARY}", "host": "x"}},
        {"headers": [{"Authorization": CANARY}]},
        {"url": f"/.cmb/enter?code={CANARY}"},
        {"url": f"/_event/?token={CANARY}&transport=websocket"},
        {"text": f"Cookie: cmb_session={CANARY}; x=1"},
        {"text": f"{{'cookie': 'cmb_environment={CANARY}', 'authorization': 'Basic {CANARY}'}}"},
        {"text": f"postgresql://user:{CANARY}@db/cmb"},
        {"raw": f"cmb_environment={CANARY}".encode()},
        {"text": f"Attempting to send delta to disconnected client '{CANARY}'"},
        {"text": f"Cancelling the previous unfinished on_load chain for token {CANARY}, superseded"},
        {"text": f"<Task finished name='reflex_event|state.x.stop|{CANARY}|7f3a' coro=<x>>"},
        {"text": f"<Task finished name='reflex_disconnect_token|{CANARY}|1795.2' coro=<x>>"},
    ],
)
def test_no_secret_is_written(written: io.StringIO, values: dict[str, Any]) -> None:
    structlog.get_logger("x").info("event", **values)
    logging.getLogger("reflex.state").warning("event %s", values)
    try:
        raise RuntimeError(str(values))
    except RuntimeError:
        structlog.get_logger("x").exception("failed", **values)
    assert len(lines(written)) == 3
    assert CANARY not in written.getvalue()


def test_ordinary_words_stay(written: io.StringIO) -> None:
    structlog.get_logger("x").info("ended", exit_code=3, status_code=200, phase="running", key="abc")
    line = lines(written)[0]
    assert (line["exit_code"], line["status_code"], line["phase"], line["key"]) == (3, 200, "running", "abc")
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_nothing_forges_a_line(written: io.StringIO) -> None:
    structlog.get_logger("x").info("a\nb", name="x\r\n{}\x1b[31m\u2028")
    assert len(written.getvalue().splitlines()) == 1
    assert "\x1b" not in written.getvalue()
    stream = io.StringIO()
    logs.configure(Choices("console"), stream)
    structlog.get_logger("x").info("a\nb", name="x\r\ny\x1b[31m")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b[31m" not in stream.getvalue()


def test_the_operation_id_is_in_every_line(written: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(operation_id="0f0e"):
        structlog.get_logger("x").info("ours")
        logging.getLogger("library").warning("theirs")
    assert [line["operation_id"] for line in lines(written)] == ["0f0e", "0f0e"]


def test_libraries_are_quiet(written: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info("GET /?code=x")
    logging.getLogger("uvicorn.error").info("Started")
    logging.getLogger("reflex").info("hello")
    assert written.getvalue() == ""


def test_no_value_is_longer_than_a_page(written: io.StringIO) -> None:
    flood = "start " + "many words " * 20_000 + " end"
    logging.getLogger("reflex.app").error("no such event %s", {"name": flood})
    structlog.get_logger("x").info(
        "event", text=flood, many=[flood] * 50, deep={"a": {"b": [flood]}}, raw=flood.encode()
    )
    structlog.get_logger("x").info("event", names={flood: 1}, small=["a"] * 5)
    for line in written.getvalue().splitlines():
        assert len(line) < 4 * (logs.LONGEST_CHARS + 200)
    told = lines(written)
    assert told[0]["event"].startswith("no such event {'name': 'start many words")
    assert "[cut, 2200" in told[0]["event"]
    assert told[1]["text"].startswith("start many words")
    assert told[2]["small"] == ["a"] * 5


def test_a_long_traceback_keeps_its_end(written: io.StringIO) -> None:
    try:
        raise RuntimeError("first line\n" + "\n".join("x" * 3000 for _ in range(100)) + "\nthe last line")
    except RuntimeError:
        structlog.get_logger("x").exception("failed")
    kept = lines(written)[0]["exception"]
    assert kept.endswith("the last line")
    assert "lines left out]" in kept
    assert len(kept) < logs.LONGEST_LINES_CHARS + 100


@pytest.mark.parametrize("before", [0, 1900, 3990, 3995, 4000, 7990, 8000, 8005])
def test_no_part_of_a_secret_is_left_where_a_text_is_cut(written: io.StringIO, before: int) -> None:
    for secret in (f"postgresql://user:{CANARY * 5}@db", f"?token={CANARY * 5}", f"Bearer {CANARY * 5}"):
        text = "w " * (before // 2) + secret
        structlog.get_logger("x").info("event", text=text + " tail" * 3000)
        structlog.get_logger("x").info("event", text=text)
        structlog.get_logger("x").info("event", text="w\n" * 5000 + secret)
    assert CANARY[:9] not in written.getvalue()
