"""Structured logs: one event, one line, and never a secret in it.

Colours on a terminal, JSON elsewhere. The operation id of a click is bound as a context
variable and so stands in every line written on its behalf. Libraries log through the
same pipe. This module must never let a cookie, a code, a token or a password through,
nor a control character that could forge a line, nor a text so long that strangers could
fill a disk with it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

HIDDEN = "[hidden]"
LONGEST_CHARS = 2000
# Tracebacks are long by nature. What is kept is their end, where the error stands.
LONGEST_LINES_CHARS = 16_000
# Texts are searched for credentials up to here, so that a stranger's long one costs little.
_SEARCHED_CHARS = 4 * LONGEST_CHARS
_SECRET_NAMES = frozenset(
    {"authorization", "proxy_authorization", "code", "cookie", "cookies", "credentials", "set_cookie"}
)
_SECRET_ENDINGS = ("token", "password", "passwd", "secret", "api_key", "private_key", "_cookie")
# Values inside a text, such as the repr of a header mapping, a header line, a query or an address.
_SECRET_TEXT = (
    re.compile(r"(?i)((?:set[-_])?cookies?|authorization)(['\"]?\s*[:=]\s*)('[^']*'|\"[^\"]*\"|[^\r\n]+)"),
    re.compile(
        r"(?i)(['\"](?:[a-z_-]*(?:token|password|passwd|secret)|code)['\"])(\s*:\s*)('[^']*'|\"[^\"]*\"|[^\s,}]+)"
    ),
    re.compile(r"(?i)([?&;\s](?:[a-z_-]*(?:token|password|passwd|secret)|code))(=)([^&;\s'\"]+)"),
    re.compile(r"(cmb_(?:session|environment))(=)([^;\s'\"]+)"),
    re.compile(r"(?i)\b(bearer|basic)(\s+)([a-z0-9._~+/=-]{8,})"),
    re.compile(r"(://[^/\s:@]+)(:)([^/\s@]+)(?=@)"),
    # The token of a tab, as Reflex writes it in sentences and in the names of its tasks.
    re.compile(r"(?i)\b(for token|disconnected client)(\s+)('[^']*'|[^\s,;]+)"),
    re.compile(r"(reflex_disconnect_token|reflex_event\|[^|\s]*)(\|)([^|\s'\"]+)"),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LIBRARIES = (
    "aiosqlite",
    "alembic",
    "asyncio",
    "authlib",
    "engineio",
    "httpcore",
    "httpx",
    "reflex",
    "reflex_base",
    "socketio",
    "uvicorn",
    "uvicorn.error",
    "websockets",
)
_MANY_LINES = frozenset({"exception", "stack"})
_NAMES_OF_LEVELS = {"warn": logging.WARNING, "fatal": logging.CRITICAL, "panic": logging.CRITICAL}


class LogChoices(Protocol):
    """The part of the settings this module reads."""

    @property
    def log_format(self) -> str:
        """``auto``, ``console`` or ``json``."""

    @property
    def log_level(self) -> str:
        """Least level that is written."""


def _is_secret(name: str) -> bool:
    plain = name.lower().replace("-", "_")
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def hide_in_text(text: str) -> str:
    """``text`` with everything that looks like a credential taken out."""
    for pattern in _SECRET_TEXT:
        text = pattern.sub(lambda found: f"{found[1]}{found[2]}{HIDDEN}", text)
    return text


def _searched(text: str) -> str:
    """Both ends of a very long text, each begun and ended where no credential is parted."""
    if len(text) <= _SEARCHED_CHARS:
        return text
    words = text[: _SEARCHED_CHARS // 2].rsplit(None, 1)
    head = words[0] if len(words) == 2 else ""
    return head + "\n" + text[-_SEARCHED_CHARS // 2 :].partition("\n")[2]


def _shortened(text: str, whole: int) -> str:
    if whole <= LONGEST_CHARS:
        return text
    half = LONGEST_CHARS // 2
    if len(text) > LONGEST_CHARS:
        text = f"{text[:half]} […] {text[-half:]}"
    return f"{text} [cut, {whole} characters]"


def _cut(text: str) -> str:
    """Both ends of ``text``, with credentials taken out."""
    return _shortened(hide_in_text(_searched(text)), len(text))


def _cut_lines(text: str) -> str:
    """The last lines of ``text`` that fit, none of them too long."""
    lines = text.split("\n")
    kept: list[str] = []
    left = LONGEST_LINES_CHARS
    for line in reversed(lines):
        short = _cut(line)
        left -= len(short) + 1
        if left < 0:
            break
        kept.append(short)
    missing = len(lines) - len(kept)
    if missing:
        kept.append(f"[{missing} lines left out]")
    return hide_in_text("\n".join(reversed(kept)))


def _cut_values(value: Any) -> Any:
    """``value``, whose texts are clean and cut, as a text when it is too much as a whole."""
    text = repr(value)
    return value if len(text) <= LONGEST_CHARS else _shortened(text, len(text))


def _hide(name: str, value: Any) -> Any:
    if value not in (None, "") and not isinstance(value, bool) and _is_secret(name):
        return HIDDEN
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _cut_lines(value) if name in _MANY_LINES else _cut(value)
    if isinstance(value, MutableMapping):
        return _cut_values({_cut(str(key)): _hide(str(key), inner) for key, inner in value.items()})
    if isinstance(value, (list, tuple, set, frozenset)):
        return _cut_values([_hide(name, inner) for inner in value])
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _cut(str(value))


def hide_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Take credentials out of every value, also out of texts and tracebacks."""
    return {name: _hide(name, value) for name, value in event.items()}


def escape_control(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Write control characters as escapes, so that no value can forge a line or a colour."""

    def visible(found: re.Match[str]) -> str:
        return found[0].encode("unicode_escape").decode("ascii")

    for name, value in event.items():
        if isinstance(value, str):
            pattern = _CONTROL_BUT_LINES if name in _MANY_LINES else _CONTROL
            event[name] = pattern.sub(visible, value)
    return event


def _pipeline() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _formatter(colours: bool, as_json: bool) -> logging.Formatter:
    last: Processor
    if as_json:
        last = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        last = structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0, sort_keys=False)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_pipeline(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            hide_secrets,
            escape_control,
            last,
        ],
    )


def configure(choices: LogChoices, stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process to ``stream`` (standard error)."""
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    as_json = choices.log_format == "json" or (choices.log_format == "auto" and not terminal)
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(colours=terminal, as_json=as_json))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(choices.log_level)
    _quieten_libraries(logging.getLevelName(choices.log_level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *(step for step in _pipeline() if not isinstance(step, structlog.stdlib.ExtraAdder)),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _quieten_libraries(level: int) -> None:
    """Keep libraries to warnings, and make them use our handler instead of their own."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.WARNING, level))
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def level_number(name: str) -> int:
    """The number of a level as another program calls it; unknown names are warnings."""
    small = name.lower()
    if small in _NAMES_OF_LEVELS:
        return _NAMES_OF_LEVELS[small]
    return logging.getLevelNamesMapping().get(small.upper(), logging.WARNING)
