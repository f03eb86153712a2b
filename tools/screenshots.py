"""Photograph every page, light and dark, wide and on a phone, into docs/screenshots/.

The pages run over a platform made of memory (``tests/web/stage.py``), so the pictures
need no runtime and always show the same. ``python tools/screenshots.py [--axe FILE]``
also checks each page with axe-core and ends with status 1 when it finds something.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.web.scenes import SHOTS, WIDTHS, Shot, problems  # noqa: E402 - found beside this folder

PORT = 8378
URL = f"http://localhost:{PORT}"
OUT = ROOT / "docs" / "screenshots"
START_SECONDS = 120
SETTLE_MS = 1400


def wait_for_server(server: subprocess.Popen[bytes]) -> None:
    """Return when the stage answers."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit("The stage ended before it answered.")
        try:
            with urllib.request.urlopen(f"{URL}/healthz", timeout=2):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.3)
    raise SystemExit(f"The stage did not answer within {START_SECONDS} s.")


def photograph(browser: Browser, shot: Shot, theme: str, width: str, axe: str) -> list[str]:
    """Take one picture; returns what is wrong with the page."""
    wide, high, scale = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": wide, "height": high},
        device_scale_factor=scale,
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        bypass_csp=bool(axe),
    )
    if shot.person:
        context.add_cookies([{"name": "cmb_session", "value": shot.person, "url": URL}])
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(URL + shot.path)
    page.wait_for_timeout(SETTLE_MS)
    for pressed in shot.press:
        page.keyboard.press(pressed)
        page.wait_for_timeout(120)
    page.screenshot(path=OUT / f"{shot.name}-{theme}{width}.png")
    errors += problems(page, axe)
    context.close()
    return errors


def main() -> int:
    """Photograph all pages; the status says whether all are well."""
    axe = Path(sys.argv[sys.argv.index("--axe") + 1]).read_text() if "--axe" in sys.argv else ""
    OUT.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "tests.web.serving", str(PORT), "ending"], cwd=ROOT
    )
    bad = 0
    try:
        wait_for_server(server)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            for shot in SHOTS:
                for theme in ("light", "dark"):
                    for width in WIDTHS:
                        for problem in photograph(browser, shot, theme, width, axe):
                            bad += 1
                            print(f"{shot.name} {theme}{width}: {problem}")  # noqa: T201 - a tool of the terminal
            browser.close()
    finally:
        server.terminate()
        server.wait(10)
    print(f"{len(SHOTS) * 4} pictures in {OUT.relative_to(ROOT)}, {bad} problems")  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
