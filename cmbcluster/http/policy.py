"""The Content-Security-Policy of the dashboard, counted from the pages as they were built.

Scripts run only when they are our own files, or inline with a hash that was counted here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

_INLINE_SCRIPT = re.compile(r"<script(?P<attributes>(?:\s[^>]*)?)>(?P<text>.*?)</script>", re.DOTALL | re.IGNORECASE)
_HAS_SOURCE = re.compile(r"\ssrc\s*=", re.IGNORECASE)
# Data for scripts is not run, so it needs no hash.
_IS_DATA = re.compile(r"\stype\s*=\s*[\"']?(?:application/(?:ld\+)?json|speculationrules)", re.IGNORECASE)


def script_hashes(pages: Path) -> tuple[str, ...]:
    """``sha256-…`` of every inline script in the HTML files below ``pages``, each once."""
    found: set[str] = set()
    for page in sorted(pages.rglob("*.html")):
        for script in _INLINE_SCRIPT.finditer(page.read_text(encoding="utf-8")):
            attributes = script["attributes"]
            if _HAS_SOURCE.search(attributes) or _IS_DATA.search(attributes) or not script["text"]:
                continue
            digest = hashlib.sha256(script["text"].encode()).digest()
            found.add(f"sha256-{base64.b64encode(digest).decode()}")
    return tuple(sorted(found))


def content_security_policy(public_url: str, hashes: tuple[str, ...]) -> str:
    """The header's value. ``form-action`` names the environments' hosts, since signing in may end there."""
    scheme, _, host = public_url.partition("://")
    socket_url = f"{'wss' if scheme == 'https' else 'ws'}://{host}"
    scripts = " ".join(("'self'", *(f"'{value}'" for value in hashes)))
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "font-src 'self' data:",
            "img-src 'self' data:",
            f"connect-src 'self' {socket_url}",
            f"form-action 'self' {scheme}://*.{host}",
            "frame-ancestors 'none'",
            "object-src 'none'",
            "base-uri 'none'",
        )
    )
