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
