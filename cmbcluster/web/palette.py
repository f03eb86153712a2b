"""What the palette finds: environments with their acts, pages, commands. Searched in the browser."""

from __future__ import annotations

from typing import Any

from cmbcluster.web.rows import EnvRow

PAGES: tuple[dict[str, Any], ...] = (
    {"id": "home", "group": "Go and do", "text": "Home", "icon": "home", "href": "/", "key": "g h"},
    {"id": "catalogue", "group": "Go and do", "text": "Catalogue", "icon": "grid", "href": "/catalogue", "key": "g c"},
    {
        "id": "environments",
        "group": "Go and do",
        "text": "Environments",
        "icon": "box",
        "href": "/environments",
        "key": "g e",
    },
    {"id": "activity", "group": "Go and do", "text": "Activity", "icon": "pulse", "href": "/activity", "key": "g a"},
    {"id": "settings", "group": "Go and do", "text": "Settings", "icon": "sliders", "href": "/settings", "key": "g s"},
    {
        "id": "appearance",
        "group": "Go and do",
        "text": "Appearance",
        "hint": "light, dark, roomy",
        "icon": "sun",
        "href": "/settings?tab=appearance",
        "words": "theme",
    },
    {
        "id": "sessions",
        "group": "Go and do",
        "text": "Sessions",
        "hint": "where you are signed in",
        "icon": "screen",
        "href": "/settings?tab=sessions",
    },
    {
        "id": "launch",
        "group": "Go and do",
        "text": "Launch an application",
        "icon": "plus",
        "href": "/catalogue",
        "key": "c",
    },
    {
        "id": "keys",
        "group": "Go and do",
        "text": "Keyboard shortcuts",
        "icon": "help",
        "event": "cmb:keys",
        "key": "?",
    },
    {"id": "sign-out", "group": "Go and do", "text": "Sign out", "icon": "exit", "post": "sign-out"},
)


def palette_items(rows: list[EnvRow]) -> list[dict[str, Any]]:
    """Environments first, each with what can be done to it now, then pages and commands."""
    items: list[dict[str, Any]] = []
    for row in rows:
        items += _acts(row)
    return items + list(PAGES)


def _acts(row: EnvRow) -> list[dict[str, Any]]:
    """An environment's own entry and, once something is typed, its acts."""
    base = {"group": "Environments", "words": f"{row.application} {row.word}"}
    about = f"{row.application} · {row.word.lower()}"
    glyph = {"glyph": row.phase, "family": row.family}
    acts: list[dict[str, Any]] = []
    if row.kind == "running":
        acts.append(
            {**base, **glyph, "id": f"open:{row.id}", "text": f"Open {row.name}", "hint": about}
            | {"href": row.open_href, "tab": True}
        )
    acts.append(
        {**base, **glyph, "id": f"see:{row.id}", "text": row.name, "hint": about, "href": row.href}
        | {"deep": row.kind == "running"}
    )
    deep = {**base, "deep": True}
    if row.can_extend:
        acts.append({**deep, "id": f"extend:{row.id}", "run": f"extend:{row.id}", "text": f"Extend {row.name}"})
        acts[-1] |= {"icon": "clock", "hint": "more time"}
    if row.kind in ("running", "launching"):
        verb, note = ("Stop", "workspace is kept") if row.kind == "running" else ("Cancel", "workspace is kept")
        acts.append({**deep, "id": f"stop:{row.id}", "run": f"stop:{row.id}", "text": f"{verb} {row.name}"})
        acts[-1] |= {"icon": "stop", "hint": note}
    if row.kind in ("rest", "failed"):
        acts.append({**deep, "id": f"start:{row.id}", "run": f"start:{row.id}", "text": f"Start {row.name}"})
        acts[-1] |= {"icon": "play", "hint": row.size}
    return acts
