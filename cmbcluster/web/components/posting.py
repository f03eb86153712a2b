"""A form that the browser posts by itself, for the routes that set or end the session.

``rx.el.form`` always prevents that, because it means to hand every form to an event handler.
"""

# Reflex's element factories are untyped, so what they give counts as Any.
# mypy: no-warn-return-any

from __future__ import annotations

import reflex as rx
from reflex_components_core.el.elements.base import BaseHTML  # type: ignore[import-untyped]


class Posting(BaseHTML):  # type: ignore[misc]
    """A plain ``form`` element; nothing of it reaches the state."""

    tag = "form"

    action: rx.Var[str]
    method: rx.Var[str]
