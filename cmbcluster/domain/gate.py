"""The gate's question and answer: may this request reach this environment, and where is it?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cmbcluster.domain.views import EnvironmentView
from cmbcluster.settings import SESSION_COOKIE

__all__ = ["ENVIRONMENT_COOKIE", "SESSION_COOKIE", "SIGN_IN_COOKIE", "GateAnswer", "Verdict"]
ENVIRONMENT_COOKIE = "cmb_environment"
SIGN_IN_COOKIE = "cmb_sign_in"


class Verdict(StrEnum):
    """What the gate found. Only PASS lets a request through."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    SIGN_IN = "sign_in"  # no cookie, or its session has ended: go through ``open_url``
    NO_SCOPE = "no_scope"  # a token that may not reach environments, whichever it asks for
    NOT_YOURS = "not_yours"  # missing and somebody else's look the same
    AT_REST = "at_rest"  # stopped or failed; ``environment`` says why
    LAUNCHING = "launching"
    UNSEEN = "unseen"  # running as far as known, but no address is recorded


@dataclass(frozen=True)
class GateAnswer:
    """``host`` and ``port`` are set with PASS only; they come from the reconciler's record."""

    verdict: Verdict
    host: str = ""
    port: int = 0
    open_url: str = ""
    environment: EnvironmentView | None = None
