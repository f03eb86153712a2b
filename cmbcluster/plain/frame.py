"""The frame of every plain page: no script, nothing loaded, light and dark by the reader's system."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cmbcluster.plain import drawings

_CSS = Path(__file__).with_name("plain.css").read_text(encoding="utf-8")
_CSS_HASH = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_CSS_HASH}'; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'".encode(),
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True)
class Act:
    """A link that looks like a button."""

    words: str
    href: str
    drawing: str = ""


def document(
    *,
    title: str,
    say: str,
    acts: tuple[Act, ...],
    host: str,
    home: str,
    head: str = "",
    bar: str = "",
    facts: str = "",
    refresh: int = 0,
    wide: bool = False,
    onward: str = "",
) -> bytes:
    """The frame of every page. ``say``, ``head``, ``bar`` and ``facts`` are HTML, the rest is text.

    ``onward`` is an address that the browser goes on to at once.
    """
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    if onward:
        again = f'<meta http-equiv="refresh" content="0;url={escape(onward)}">'
    buttons = "".join(
        f'<a class="btn{"" if place else " go"}" href="{escape(act.href)}">{act.drawing}{escape(act.words)}</a>'
        for place, act in enumerate(acts)
    )
    brand = f'<a class="brand" href="{escape(home)}/">{drawings.MARK}<span>CMBCluster</span></a>'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">{again}
<title>{escape(title)} · CMBCluster</title>
<style>{_CSS}</style>
</head>
<body>
<header class="top">{brand}<span class="host">{escape(host)}</span></header>
<main><div class="pane{" wide" if wide else ""}">{head}
<h1>{escape(title)}</h1><p class="say">{say}</p>
{bar}<div class="acts">{buttons}</div>
{facts}</div></main>
</body>
</html>
""".encode()
