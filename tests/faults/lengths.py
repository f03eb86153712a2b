"""How long a fault is played: shortly in the suite, as long as the experiment says when it is asked for."""

from __future__ import annotations

import os

VARIABLE = "CMB_TEST_FULL_LENGTH"


def lasting(usual_seconds: float, *, full: float) -> float:
    """The seconds of one experiment; its full length with CMB_TEST_FULL_LENGTH=1."""
    return full if os.environ.get(VARIABLE) else usual_seconds
