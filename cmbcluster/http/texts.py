"""Pure rules for text that crosses a border: paths to return to, file names, table cells, browsers.

Everything here takes what somebody else wrote and must never let it become more than text.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

PATH_LIMIT = 2000
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%/?#\[\]-]*)?")
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chromium/", "Chromium"),
    ("HeadlessChrome/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def own_path(wanted: str) -> str:
    """``wanted`` when it is a path on our own host, else the root.

    Browsers read ``//x``, ``/\\x`` and a path with a tab in it as addresses of other hosts,
    so only plain URL characters are taken and the second one is never a slash.
    """
    if len(wanted) > PATH_LIMIT or not _PATH.fullmatch(wanted):
        return "/"
    return wanted


def attachment(name: str) -> str:
    """A Content-Disposition that offers a download under ``name`` (RFC 6266)."""
    kept = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c)[0] != "C")
    kept = re.sub(r'[\\/:*?"<>|;]', "_", kept).strip(". ")[:150] or "download"
    plain = unicodedata.normalize("NFKD", kept).encode("ascii", "ignore").decode().strip() or "download"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(kept, safe='')}"


def cell(value: str) -> str:
    """A table cell that no spreadsheet runs as a formula."""
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value


def browser_words(user_agent: str) -> str:
    """What a person recognises their browser by, such as ``Firefox on Linux``."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown browser"
