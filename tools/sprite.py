"""Draw the sprite: every icon, phase glyph and application tile in one file, assets/glyphs.svg.

Run ``python tools/sprite.py`` after changing a drawing here. Icons are one stroke on a
16 px grid, phases carry their own shapes, applications sit on a 24 px grid.
"""
# ruff: noqa: E501 - a drawing is one string, however long.

from __future__ import annotations

from pathlib import Path

TARGET = Path(__file__).parent.parent / "assets" / "glyphs.svg"

ICONS = {
    "home": "M2.5 7.2 8 2.5l5.5 4.7V13a.5.5 0 0 1-.5.5H9.8V9.6H6.2v3.9H3a.5.5 0 0 1-.5-.5z",
    "grid": "M2.5 2.5H7V7H2.5zM9 2.5h4.5V7H9zM2.5 9H7v4.5H2.5zM9 9h4.5v4.5H9z",
    "box": "M8 1.8l5.6 3v6.4L8 14.2l-5.6-3V4.8zM2.4 4.8 8 7.8l5.6-3M8 7.8v6.4",
    "pulse": "M1.5 8.5h3l2-5.5 3 10 2-4.5h3",
    "sliders": "M2 4.5h6.5M12 4.5h2M2 11.5h2M7.5 11.5H14M8.5 4.5a1.75 1.75 0 1 0 3.5 0 1.75 1.75 0 1 0-3.5 0M4 11.5a1.75 1.75 0 1 0 3.5 0 1.75 1.75 0 1 0-3.5 0",
    "person": "M5.3 5.2a2.7 2.7 0 1 0 5.4 0 2.7 2.7 0 1 0-5.4 0M2.8 13.6c.4-2.8 2.4-4.2 5.2-4.2s4.8 1.4 5.2 4.2",
    "search": "M2.7 7a4.3 4.3 0 1 0 8.6 0 4.3 4.3 0 1 0-8.6 0M10.2 10.2 14 14",
    "bell": "M4 7a4 4 0 0 1 8 0c0 3.2 1.3 4 1.3 4H2.7S4 10.2 4 7zM6.6 13.2a1.5 1.5 0 0 0 2.8 0",
    "plus": "M8 3v10M3 8h10",
    "play": "M5 3.2v9.6L12.6 8z",
    "stop": "M4.2 4.2h7.6v7.6H4.2z",
    "out": "M6.5 3.5h-3v9h9v-3M9 2.5h4.5V7M13.3 2.7 7.5 8.5",
    "copy": "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
    "check": "M3 8.5l3.3 3.3L13 4.8",
    "x": "M4 4l8 8M12 4l-8 8",
    "down": "M4 6.2l4 4 4-4",
    "right": "M6.2 4l4 4-4 4",
    "left": "M9.8 4l-4 4 4 4",
    "dots": "M3.5 8h.01M8 8h.01M12.5 8h.01",
    "download": "M8 2.5V10M4.8 7 8 10.2 11.2 7M2.8 13.2h10.4",
    "lock": "M3.2 7h9.6v6.6H3.2zM5.2 7V5a2.8 2.8 0 0 1 5.6 0v2",
    "clock": "M2.2 8a5.8 5.8 0 1 0 11.6 0A5.8 5.8 0 1 0 2.2 8M8 4.6V8l2.3 1.5",
    "moon": "M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7z",
    "info": "M2.2 8a5.8 5.8 0 1 0 11.6 0A5.8 5.8 0 1 0 2.2 8M8 7.4v3.4M8 5.2v.01",
    "warn": "M8 2.4 14.3 13.3H1.7zM8 6.6v3M8 11.5v.01",
    "retry": "M13 8a5 5 0 1 1-1.6-3.7M13.2 2.2v2.6h-2.6",
    "filter": "M2.2 3.8h11.6M4.6 8h6.8M6.8 12.2h2.4",
    "pause": "M5.6 3.5v9M10.4 3.5v9",
    "wrap": "M2.5 4h11M2.5 8h8.5a2.2 2.2 0 1 1 0 4.4H8M9.5 10.8 7.9 12.4l1.6 1.6M2.5 12.4H5",
    "menu": "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
    "disk": "M2.2 3h11.6v10H2.2zM2.2 9.5h11.6M11 11.3h.01",
    "chip": "M4.2 4.2h7.6v7.6H4.2zM6.6 6.6h2.8v2.8H6.6zM6.4 4.2V2M9.6 4.2V2M6.4 14v-2.2M9.6 14v-2.2M4.2 6.4H2M4.2 9.6H2M14 6.4h-2.2M14 9.6h-2.2",
    "shield": "M8 1.8l5.2 1.9v4c0 3.2-2.2 5.4-5.2 6.6-3-1.2-5.2-3.4-5.2-6.6v-4zM5.7 7.9l1.7 1.7 3-3.2",
    "code": "M5.2 4.5 1.8 8l3.4 3.5M10.8 4.5 14.2 8l-3.4 3.5",
    "screen": "M2 3h12v8.2H2zM5.6 13.6h4.8M8 11.2v2.4",
    "sun": "M5.4 8a2.6 2.6 0 1 0 5.2 0 2.6 2.6 0 1 0-5.2 0M8 1.6v1.2M8 13.2v1.2M1.6 8h1.2M13.2 8h1.2M3.5 3.5l.8.8M11.7 11.7l.8.8M3.5 12.5l.8-.8M11.7 4.3l.8-.8",
    "sort": "M8 3v10M4.8 9.8 8 13l3.2-3.2",
    "enter": "M13 3.5V8a1.5 1.5 0 0 1-1.5 1.5H3.2M5.8 6.8 3 9.5l2.8 2.7",
    "help": "M2.2 8a5.8 5.8 0 1 0 11.6 0A5.8 5.8 0 1 0 2.2 8M6.3 6.4c.1-1 .8-1.6 1.8-1.6s1.7.6 1.7 1.5c0 1.2-1.7 1.3-1.7 2.5M8.05 11.2v.01",
    "tag": "M2.2 2.2h5.3l6.3 6.3-5.3 5.3-6.3-6.3zM5.2 5.2h.01",
    "trash": "M2.8 4.3h10.4M6.2 4.3V2.6h3.6v1.7M4.2 4.3l.6 9.1h6.4l.6-9.1M6.8 7v3.8M9.2 7v3.8",
    "key": "M2.4 10.6a2.8 2.8 0 1 0 5.6 0 2.8 2.8 0 1 0-5.6 0M7.2 8.6l6.2-6.2M10.8 5l1.9 1.9",
    "doc": "M3.8 1.8h5.4l3 3v9.4H3.8zM9 1.8V5h3.2M6 8.2h4M6 10.8h4",
    "pencil": "M3 13l.6-2.8 7.2-7.2 2.2 2.2-7.2 7.2zM9.6 4.2l2.2 2.2",
    "calendar": "M2.5 3.6h11v9.9h-11zM2.5 6.8h11M5.3 2.2v2.6M10.7 2.2v2.6",
    "exit": "M9.5 2.8H3.2v10.4h6.3M7 8h7M11.200 5.2 14 8l-2.8 2.8",
}
RING = '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6"/>'
PHASES = {
    "queued": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.3 2.410" stroke-linecap="round"/>',
    "scheduling": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6"/><circle cx="8" cy="8" r="1.75" fill="none" stroke="currentColor" stroke-width="3.5" pathLength="100" stroke-dasharray="25 100" transform="rotate(-90 8 8)"/>',
    "pulling": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M8 4.6v6M5.5 8.3 8 10.8l2.5-2.5" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/>',
    "starting": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6"/><circle cx="8" cy="8" r="1.75" fill="none" stroke="currentColor" stroke-width="3.5" pathLength="100" stroke-dasharray="75 100" transform="rotate(-90 8 8)"/>',
    "running": '<path fill-rule="evenodd" fill="currentColor" d="M8 1.2a6.8 6.8 0 1 1 0 13.6A6.8 6.8 0 0 1 8 1.2zM6.4 5.1v5.8L11 8z"/>',
    "stopping": '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6"/><rect x="5.6" y="5.6" width="4.8" height="4.8" rx=".8" fill="currentColor"/>',
    "stopped": '<rect x="2.8" y="2.8" width="10.4" height="10.4" rx="2" fill="currentColor"/>',
    "failed": '<path fill-rule="evenodd" fill="currentColor" d="M5.2 1.2h5.6l4 4v5.6l-4 4H5.2l-4-4V5.2zM5.3 6.4 6.9 8 5.3 9.6l1.1 1.1L8 9.1l1.6 1.6 1.1-1.1L9.1 8l1.6-1.6-1.1-1.1L8 6.9 6.4 5.3z"/>',
    "deleting": '<path d="M2.6 4.2h10.8M6 4.2V2.4h4v1.8M4 4.2l.7 9.4h6.6l.7-9.4" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/>',
    "unknown": '<path d="M8 1.4 14.6 8 8 14.6 1.4 8z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/><path d="M6.5 6.7c.1-.8.7-1.3 1.5-1.3s1.5.5 1.5 1.3c0 1-1.5 1.1-1.5 2.1M8 10.7v.05" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/>',
    "done": '<circle cx="8" cy="8" r="6.8" fill="currentColor"/><path d="M4.9 8.2 7.1 10.4 11.2 6" fill="none" stroke="var(--card)" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"/>',
}
APPLICATIONS = {
    "jupyter": '<path d="M6.5 3.5h12v17h-12zM6.5 8H4M6.5 12H4M6.5 16H4M10 8.5h5M10 12h5M10 15.5h3"/>',
    "agent": '<path d="M10.7 7.8 6.8 15M13.3 7.8l3.9 7.2M8.2 17.5h7.6"/><circle cx="12" cy="5.4" r="2.7"/><circle cx="5.5" cy="17.5" r="2.7"/><circle cx="18.5" cy="17.5" r="2.7"/>',
    "denario": '<circle cx="12" cy="12" r="9"/><path d="M8 16.5l6.2-6.2M9.3 15.2c4.5.6 6.8-2 7.2-7.7-5.7.4-8.3 2.7-7.7 7.2"/>',
    "explorer": '<ellipse cx="12" cy="12" rx="10" ry="6.2"/><path d="M5.5 13c.8-3.6 3.6-4 5.3-2.3 1.3 1.3 2.5 1.8 3.6.6M14.6 15.3c.6-1.6 2.3-2.3 3.6-1.3M9.3 14.7h.01M16.8 9.9h.01"/>',
    "sliders": '<path d="M3.5 7H12M16.5 7h4M3.5 12h2.5M10.5 12h10M3.5 17H13M17.5 17h3"/><circle cx="14.2" cy="7" r="2.2"/><circle cx="8.2" cy="12" r="2.2"/><circle cx="15.2" cy="17" r="2.2"/>',
    "custom": '<path stroke-dasharray="2.6 2.6" d="M12 3.2l7.8 4.4v8.8L12 20.8l-7.8-4.4V7.6zM4.2 7.6 12 12l7.8-4.4M12 12v8.8"/>',
}
MARK = (
    '<defs><clipPath id="sky"><ellipse cx="27" cy="17" rx="26" ry="16"/></clipPath></defs><g clip-path="url(#sky)">'
    '<path fill="var(--mark-cold)" d="M-2-2H34C33 3 28.5 5 25.5 9c-3 4.2-.5 8.2-2.5 12.5C21 26 15 27 13.5 36H-2z"/>'
    '<path fill="var(--mark-hot)" d="M56 36H21.5C22 30 28.5 28 30.5 23c1.7-4.3-.7-8.3 2.2-12.3C35.5 6.8 40.5 4.5 42-2h14z"/>'
    "</g>"
)


def sprite() -> str:
    """The whole file. Everything inherits colour and stroke from where it is used."""
    parts = [f'<symbol id="i-{n}" viewBox="0 0 16 16"><path d="{d}"/></symbol>' for n, d in ICONS.items()]
    parts += [f'<symbol id="g-{n}" viewBox="0 0 16 16">{d}</symbol>' for n, d in PHASES.items()]
    parts += [f'<symbol id="a-{n}" viewBox="0 0 24 24">{d}</symbol>' for n, d in APPLICATIONS.items()]
    parts.append(f'<symbol id="mark" viewBox="0 0 54 34">{MARK}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    TARGET.write_text(sprite())
