"""An unknown address has a page of our own, which neither asks for a session nor holds anybody's data."""

from __future__ import annotations

from typing import Any, cast

import reflex as rx

from cmbcluster.web.application import _add_pages
from cmbcluster.web.pages.nowhere import nowhere_page


class Routes:
    """Notes the pages it is given, in the place of the application."""

    def __init__(self) -> None:
        self.given: dict[str, dict[str, Any]] = {}

    def add_page(self, component: Any, *, route: str, **more: Any) -> None:
        self.given[route] = {"component": component, **more}


def test_an_unknown_address_is_answered_by_our_page_without_a_handler() -> None:
    routes = Routes()
    _add_pages(cast(rx.App, routes))
    page = routes.given["404"]
    assert page["component"] is nowhere_page
    assert "on_load" not in page


def test_it_says_so_under_one_heading_leads_home_and_reads_no_state() -> None:
    drawn = str(nowhere_page().render())
    assert drawn.count('"h1"') == 1
    assert "There is nothing at this address" in drawn
    assert "Go to Home" in drawn
    assert "reflex___state" not in drawn
