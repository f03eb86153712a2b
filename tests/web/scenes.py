"""Every page in every state worth looking at, over the stage: for pictures and for axe-core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from playwright.sync_api import Page

from tests.web.stage import key

# End of a picture's name: width, height, pixels a point.
WIDTHS = {"": (1400, 900, 1), "-phone": (390, 844, 2)}


@dataclass(frozen=True)
class Shot:
    """One picture: whose page, and what is pressed before."""

    name: str
    path: str
    person: str = "elena"
    press: tuple[str, ...] = ()


def environment(name: str) -> str:
    """The page of one of the stage's environments."""
    found: UUID = key(name)
    return f"/environments/{found}"


SHOTS = (
    Shot("landing", "/", person=""),
    Shot("nowhere", "/nothing-here", person=""),
    Shot("home", "/"),
    Shot("home-new", "/", person="ada"),
    Shot("session-ending", "/", person="ravi"),
    Shot("session-ended", "/?ended=1&next=/settings", person=""),
    Shot("palette", "/", press=("Control+k", "p", "l", "a", "n")),
    Shot("shortcuts", "/", press=("?",)),
    Shot("catalogue", "/catalogue"),
    Shot("catalogue-launch", "/catalogue?launch=denario"),
    Shot("catalogue-custom", "/catalogue?launch=custom"),
    Shot("catalogue-image", f"/catalogue?launch=custom&from={key('map-server')}", person="mira"),
    Shot("catalogue-unavailable", "/catalogue?q=sky", person="mira"),
    Shot("environments", "/environments"),
    Shot("environments-none", "/environments", person="ada"),
    Shot("environment-launching", environment("act-dr6-lensing")),
    Shot("environment-running", environment("planck-lowl-anomalies")),
    Shot("environment-ending", environment("quijote-mocks")),
    Shot("environment-failed", environment("desi-dr2-bao-chains")),
    Shot("environment-stopped", environment("spt3g-foregrounds")),
    Shot("environment-unknown", environment("so-lat-maps")),
    Shot("environment-image", environment("map-server"), person="mira"),
    Shot("environment-image-settings", environment("map-server") + "?tab=settings", person="mira"),
    Shot("environment-logs", environment("planck-lowl-anomalies") + "?tab=logs"),
    Shot(
        "environment-logs-search",
        environment("planck-lowl-anomalies") + "?tab=logs",
        press=("/", "e", "n", "g", "i", "n", "Enter"),
    ),
    Shot("environment-activity", environment("planck-lowl-anomalies") + "?tab=activity"),
    Shot("environment-settings", environment("planck-lowl-anomalies") + "?tab=settings"),
    Shot("environment-not-shared", environment("s4-forecasts") + "?tab=settings"),
    Shot("activity", "/activity"),
    Shot("settings-profile", "/settings"),
    Shot("settings-appearance", "/settings?tab=appearance"),
    Shot("settings-tokens", "/settings?tab=tokens"),
    Shot("settings-tokens-none", "/settings?tab=tokens", person="ravi"),
    Shot("settings-registries", "/settings?tab=registries", person="mira"),
    Shot("settings-registries-none", "/settings?tab=registries", person="ada"),
    Shot("api", "/api/v1/docs", person=""),
    Shot("settings-sessions", "/settings?tab=sessions"),
)


def problems(page: Page, axe: str) -> list[str]:
    """What axe-core and the page's own width say against it."""
    found: list[str] = []
    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        found.append("it scrolls sideways")
    if axe:
        page.evaluate(axe)
        result: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [f"{v['impact']} {v['id']} {v['nodes'][0]['target']}" for v in result["violations"]]
    return found
