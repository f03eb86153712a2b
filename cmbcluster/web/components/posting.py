"""A form that the browser posts by itself, for the routes that set or end the session.

``rx.el.form`` always prevents that, because it means to hand every form to an event handler.
"""

from __future__ import annotations

import reflex as rx
from reflex_components_core.el.elements.base import BaseHTML


class Posting(BaseHTML):
    """A plain ``form`` element; nothing of it reaches the state."""

    tag = "form"

    action: rx.Var[str]
    method: rx.Var[str]
