"""Builds the Reflex application: pages and guard. No logic lives here.

Reflex imports this module by its name; whoever serves it opens the parts first.
"""

from __future__ import annotations

import reflex as rx

from cmbcluster.web.application import build_app

app: rx.App = build_app()
