"""What uv says, as two sentences for a person.

uv explains well but at length and in its own terms. This module finds the one fact that
helps; it must never guess: what it does not recognise is called a failure, with uv's last
lines beside it.
"""

from __future__ import annotations

import re

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.domain.sources import PythonSource
from cmbcluster.errors import CMBClusterError, PackagesUnavailable
from cmbcluster.packages.port import PackagesFailed

TAIL_LINES = 40
NAME_LENGTH = 60
# Addresses of indexes are the operator's business, and can hold passwords anywhere.
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s`'\"<>()]+")
_NAME = r"`?([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?`?"
_DISK_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded", re.IGNORECASE)
_REFUSED = re.compile(r"HTTP status client error \(40[137]|status code 40[137]|\b40[13] (Unauthorized|Forbidden)")
_UNREACHABLE = re.compile(
    r"error sending request|client error \(Connect\)|dns error|operation timed out|timed? ?out while|"
    r"HTTP status server error|Request failed after|connection (closed|reset|refused)|network was disabled|"
    r"Failed to download distribution due to network timeout|No external routable interface",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(rf"\b{_NAME} was not found in the package registry")
_NO_VERSION = re.compile(r"there (?:is no version|are no versions) of (\S+?)(?:,| and\b|\.$|\.\s|\s)")
_TOO_NEW = re.compile(rf"{_NAME} was filtered by `exclude-newer`")
_NO_DATES = re.compile(r"missing an upload (date|time)|does not provide.*upload", re.IGNORECASE)
_NO_FILE = re.compile(rf"\b{_NAME}(?:[=<>!~]\S*)? has no (?:wheels|usable wheels|wheel)", re.IGNORECASE)
_ONLY_WHEELS = re.compile(rf"Wheels are required for {_NAME} because building")
_OTHER_PYTHON = re.compile(r"\b(\S+) depends on Python\s*([<>=!~][\w.,<>=!~*]*\d)")
_BUILD = re.compile(rf"Failed to (?:build|download and build) {_NAME}")
_HASH = re.compile(rf"Hash mismatch for {_NAME}")
_GONE = re.compile(r"HTTP status client error \(404", re.IGNORECASE)
_TOGETHER = re.compile(r"your requirements are unsatisfiable|conflicting|incompatible", re.IGNORECASE)
_REQUIRE = re.compile(r"you require ([^,]+?)(?:, we can conclude|,|\.$)")


def tail(said: str) -> str:
    """The last lines of uv's output, without addresses."""
    lines = [line for line in said.splitlines() if line.strip()]
    return _ADDRESS.sub("(address)", "\n".join(lines[-TAIL_LINES:]))


def disk_full(log_tail: str = "") -> PackagesFailed:
    """The one sentence for a full disk, whoever noticed it."""
    return PackagesFailed(
        StopReason.DISK_FULL,
        "The disk of this machine is full.",
        "Free some space or prune unused builds, then start it again.",
        log_tail,
    )


def is_disk_full(said: str) -> bool:
    """Whether a tool said that there is no space left."""
    return _DISK_FULL.search(said) is not None


def unavailable(said: str) -> PackagesUnavailable | None:
    """The error for an index that did not answer or did not let us in, if that is what was said."""
    if _REFUSED.search(said):
        return PackagesUnavailable(
            "The package index refused access. Check the address and the password in pip's or uv's configuration.",
            retryable=False,
        )
    if _UNREACHABLE.search(said):
        return PackagesUnavailable("The package index did not answer. Check the network, then try again.")
    return None


def resolving(said: str, source: PythonSource) -> CMBClusterError:
    """The error for a resolution that failed."""
    text = " ".join(said.split())
    if is_disk_full(said):
        return disk_full(tail(said))
    away = unavailable(said)
    if away is not None:
        return away
    what, then = _resolving_words(text, source)
    return PackagesFailed(StopReason.RESOLVE_FAILED, what, then, tail(said))


def installing(said: str) -> CMBClusterError:
    """The error for an installation of a lock that failed."""
    text = " ".join(said.split())
    if is_disk_full(said):
        return disk_full(tail(said))
    what, then = "The packages could not be installed.", "See the last lines of the log, then try again."
    if match := _HASH.search(text):
        what = f"A file of {match.group(1)} is not the one that was locked, so it was not installed."
        then = "Choose Update to make a new lock, or check the mirror you use."
    elif _GONE.search(text):
        what, then = "The index no longer has a file of this lock.", "Choose Update to make a new lock."
    elif match := _ONLY_WHEELS.search(text):
        what = (
            f"{match.group(1)} has no ready-made file for this kind of machine; only packages with wheels can be used."
        )
        then = "Ask for another version of it, or for another Python version."
    elif match := _BUILD.search(text):
        what = f"{match.group(1)} has no ready-made file for this kind of machine, and building it failed."
        then = "Ask for another version of it, or for another Python version."
    elif unavailable(said) is not None:
        return PackagesFailed(
            StopReason.BUILD_FAILED,
            "The package index did not answer, so not all packages could be downloaded.",
            "Check the network, then start it again.",
            tail(said),
        )
    return PackagesFailed(StopReason.BUILD_FAILED, what, then, tail(said))


def _resolving_words(text: str, source: PythonSource) -> tuple[str, str]:
    if match := _UNKNOWN.search(text):
        return f"There is no package “{_short(match.group(1))}”.", "Check its name, then try again."
    if source.as_of and (match := _TOO_NEW.search(text)):
        what = f"No version of {match.group(1)} that fits was published by {source.as_of}."
        return what, "Choose a later date, or leave it empty."
    if source.as_of and _NO_DATES.search(text):
        what = "This package index does not say when files were published, so the date cannot be used."
        return what, "Leave the date empty, or use an index that says it."
    if match := _ONLY_WHEELS.search(text):
        name = match.group(1)
        what = f"{name} has no ready-made file for Python {source.python}; only packages with wheels can be used."
        return what, "Ask for another version of it, or for another Python version."
    if match := _BUILD.search(text):
        what = f"{match.group(1)} has no ready-made file for Python {source.python}, and building it failed."
        return what, "Ask for another version of it, or for another Python version."
    if match := _NO_FILE.search(text):
        what = f"{match.group(1)} has no file for Python {source.python} on this kind of machine."
        return what, "Choose another Python version, or another version of the package."
    if match := _OTHER_PYTHON.search(text):
        what = f"{match.group(1)} needs Python {match.group(2)}, and {source.python} was chosen."
        return what, "Choose another Python version."
    if match := _NO_VERSION.search(text + " "):
        return f"There is no version {match.group(1)}.", "Check the version, then try again."
    if _TOGETHER.search(text):
        asked = _REQUIRE.findall(text)
        named = f": {asked[-1].strip()}" if asked else ""
        return f"These requirements do not go together{named}.", "Loosen or remove one of them."
    return "The packages could not be resolved.", "See the last lines of the log."


def _short(name: str) -> str:
    """A name that leaves room for the sentence around it."""
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
