"""The few drawings that the gate's pages need; they may load nothing, so these are inline.

The same lines as in the dashboard's sprite. This module must never fetch or read anything.
"""

from __future__ import annotations

from cmbcluster.domain.lifecycle import Phase

_RING = '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6"/>'
_PIE = (
    '<circle cx="8" cy="8" r="1.75" fill="none" stroke="currentColor" stroke-width="3.5" pathLength="100" '
    'stroke-dasharray="{} 100" transform="rotate(-90 8 8)"/>'
)

# phase: (colour family, drawing)
PHASES: dict[Phase, tuple[str, str]] = {
    Phase.QUEUED: (
        "",
        '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.6" '
        'stroke-dasharray="2.3 2.410" stroke-linecap="round"/>',
    ),
    Phase.SCHEDULING: ("move", _RING + _PIE.format(25)),
    Phase.PULLING: (
        "move",
        _RING + '<path d="M8 4.6v6M5.5 8.3 8 10.8l2.5-2.5" fill="none" stroke="currentColor" stroke-width="1.6" '
        'stroke-linecap="round" stroke-linejoin="round"/>',
    ),
    Phase.STARTING: ("move", _RING + _PIE.format(75)),
    Phase.RUNNING: (
        "ok",
        '<path fill-rule="evenodd" fill="currentColor" '
        'd="M8 1.2a6.8 6.8 0 1 1 0 13.6A6.8 6.8 0 0 1 8 1.2zM6.4 5.1v5.8L11 8z"/>',
    ),
    Phase.STOPPING: ("", _RING + '<rect x="5.6" y="5.6" width="4.8" height="4.8" rx=".8" fill="currentColor"/>'),
    Phase.STOPPED: ("", '<rect x="2.8" y="2.8" width="10.4" height="10.4" rx="2" fill="currentColor"/>'),
    Phase.FAILED: (
        "bad",
        '<path fill-rule="evenodd" fill="currentColor" d="M5.2 1.2h5.6l4 4v5.6l-4 4H5.2l-4-4V5.2zM5.3 6.4 6.9 8 5.3 '
        '9.6l1.1 1.1L8 9.1l1.6 1.6 1.1-1.1L9.1 8l1.6-1.6-1.1-1.1L8 6.9 6.4 5.3z"/>',
    ),
    Phase.UNKNOWN: (
        "warn",
        '<path d="M8 1.4 14.6 8 8 14.6 1.4 8z" fill="none" stroke="currentColor" stroke-width="1.5" '
        'stroke-linejoin="round"/><path d="M6.5 6.7c.1-.8.7-1.3 1.5-1.3s1.5.5 1.5 1.3c0 1-1.5 1.1-1.5 2.1M8 10.7v.05" '
        'fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/>',
    ),
}

TILES: dict[str, str] = {
    "jupyter": '<path d="M6.5 3.5h12v17h-12zM6.5 8H4M6.5 12H4M6.5 16H4M10 8.5h5M10 12h5M10 15.5h3"/>',
    "agent": '<path d="M10.7 7.8 6.8 15M13.3 7.8l3.9 7.2M8.2 17.5h7.6"/><circle cx="12" cy="5.4" r="2.7"/>'
    '<circle cx="5.5" cy="17.5" r="2.7"/><circle cx="18.5" cy="17.5" r="2.7"/>',
    "denario": '<circle cx="12" cy="12" r="9"/><path d="M8 16.5l6.2-6.2M9.3 15.2c4.5.6 6.8-2 7.2-7.7-5.7.4-8.3 '
    '2.7-7.7 7.2"/>',
    "explorer": '<ellipse cx="12" cy="12" rx="10" ry="6.2"/><path d="M5.5 13c.8-3.6 3.6-4 5.3-2.3 1.3 1.3 2.5 1.8 3.6'
    '.6M14.6 15.3c.6-1.6 2.3-2.3 3.6-1.3M9.3 14.7h.01M16.8 9.9h.01"/>',
    "sliders": '<path d="M3.5 7H12M16.5 7h4M3.5 12h2.5M10.5 12h10M3.5 17H13M17.5 17h3"/><circle cx="14.2" cy="7" '
    'r="2.2"/><circle cx="8.2" cy="12" r="2.2"/><circle cx="15.2" cy="17" r="2.2"/>',
    "custom": '<path stroke-dasharray="2.6 2.6" d="M12 3.2l7.8 4.4v8.8L12 20.8l-7.8-4.4V7.6zM4.2 7.6 12 12l7.8-4.4M12 '
    '12v8.8"/>',
}

MARK = (
    '<svg class="mark" viewBox="0 0 54 34" aria-hidden="true"><defs><clipPath id="sky"><ellipse cx="27" cy="17" '
    'rx="26" ry="16"/></clipPath></defs><g clip-path="url(#sky)"><path class="cold" d="M-2-2H34C33 3 28.5 5 25.5 9c-3 '
    '4.2-.5 8.2-2.5 12.5C21 26 15 27 13.5 36H-2z"/><path class="hot" d="M56 36H21.5C22 30 28.5 28 30.5 23c1.7-4.3-.7-'
    '8.3 2.2-12.3C35.5 6.8 40.5 4.5 42-2h14z"/></g></svg>'
)
PLAY = '<svg class="i" viewBox="0 0 16 16" aria-hidden="true"><path d="M5 3.2v9.6L12.6 8z"/></svg>'


def glyph(phase: Phase) -> tuple[str, str]:
    """Colour family and drawing of a phase; one without a drawing of its own counts as unknown."""
    family, drawing = PHASES.get(phase, PHASES[Phase.UNKNOWN])
    return family, f'<svg class="g" viewBox="0 0 16 16" aria-hidden="true">{drawing}</svg>'


def tile(icon: str) -> str:
    """An application's drawing in its square."""
    drawing = TILES.get(icon, TILES["custom"])
    return f'<span class="tile" aria-hidden="true"><svg viewBox="0 0 24 24">{drawing}</svg></span>'
