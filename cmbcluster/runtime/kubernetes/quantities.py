"""Kubernetes' way of writing amounts: ``250m``, ``12345678n``, ``512Mi``."""

from __future__ import annotations

import re

_SHAPE = re.compile(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)(n|u|m|k|[KMGTPE]i?)?")
_FACTORS = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


def amount(text: str | int | float | None) -> float | None:
    """The number a quantity stands for, or None for what is none."""
    match = _SHAPE.fullmatch(str(text).strip()) if text is not None else None
    if match is None or (match.group(2) or "") not in _FACTORS:
        return None
    try:
        return float(match.group(1)) * _FACTORS[match.group(2) or ""]
    except ValueError:
        return None
