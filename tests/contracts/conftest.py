"""The contract tests run in the same places as the runtime's own."""

from __future__ import annotations

from tests.runtime.conftest import data, shared_data  # noqa: F401
